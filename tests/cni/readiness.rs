//! `network.cri`, and NetworkReady as the configuration directory changes.

use anyhow::Result;
use harness::node::Node;
use proto::cri::{NamespaceMode, PodSandboxConfig};
use tonic::Code;

use crate::host::{DUAL, network_condition, on_host};

/// Returns the configuration of a pod in the host's network.
fn in_host_network(node: &Node, name: &str) -> PodSandboxConfig {
    let mut config = node.sandbox_config(name);
    let context = config
        .linux
        .as_mut()
        .and_then(|linux| linux.security_context.as_mut());
    if let Some(options) = context.and_then(|context| context.namespace_options.as_mut()) {
        options.network = NamespaceMode::Node.into();
    }
    config
}

#[test]
fn without_a_configuration_no_pod_lands_on_a_private_bridge() -> Result<()> {
    on_host(async |host| {
        let node = host.node().await?;
        let condition = network_condition(&node).await?;
        assert!(!condition.status);
        assert_eq!(condition.reason, "NetworkPluginNotReady");
        assert!(
            condition.message.starts_with("no CNI configuration in "),
            "{condition:?}"
        );
        let config = node.sandbox_config("early");
        let refused = node.cri.run_sandbox(&config).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        // The cluster's network is itself a pod, of the host's.
        let first = node.sandbox_of(in_host_network(&node, "network")).await?;
        node.run(&first, "main", &["/bin/pause"]).await?;

        host.configure(DUAL)?;
        assert!(network_condition(&node).await?.status);
        node.sandbox_of(config).await?;

        host.configure("{")?;
        let condition = network_condition(&node).await?;
        assert!(
            !condition.status && condition.message.contains("is not valid"),
            "{condition:?}"
        );
        host.unconfigure()?;
        assert!(!network_condition(&node).await?.status);
        host.finish(node).await
    })
}

#[test]
fn auto_takes_plugins_while_there_is_a_configuration_and_a_pod_keeps_its_own() -> Result<()> {
    on_host(async |host| {
        let node = Node::start_with(host.options("auto")).await?;
        let ip = async |id: &str| -> Result<String> {
            let network = node.cri.sandbox_status(id).await?.network;
            Ok(network.unwrap_or_default().ip)
        };
        assert!(network_condition(&node).await?.status);
        let built_in = node.sandbox("built-in").await?;
        host.configure(DUAL)?;
        let plugins = node.sandbox("plugins").await?;
        host.unconfigure()?;
        let again = node.sandbox("again").await?;
        assert!(!ip(&built_in.id).await?.starts_with("10.88.7."));
        assert!(ip(&plugins.id).await?.starts_with("10.88.7."));
        assert!(!ip(&again.id).await?.starts_with("10.88.7."));

        // Somebody means to have plugins, and wrote a mistake: no pod goes elsewhere.
        host.configure("{")?;
        let refused = node.cri.run_sandbox(&node.sandbox_config("no")).await;
        assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
        node.cri.stop_sandbox(&plugins.id).await?;
        assert_eq!(host.reserved(), 0, "released as its record says");
        host.finish(node).await
    })
}

#[test]
fn built_in_takes_no_notice_of_a_configuration() -> Result<()> {
    on_host(async |host| {
        host.configure(DUAL)?;
        let node = Node::start_with(host.options("built-in")).await?;
        assert!(network_condition(&node).await?.status);
        node.sandbox("one").await?;
        assert_eq!(host.reserved(), 0);
        host.finish(node).await
    })
}

#[test]
fn a_plugin_of_1_1_0_says_itself_whether_it_is_ready() -> Result<()> {
    on_host(async |host| {
        host.script("1.1.0")?;
        let node = host.node().await?;
        assert!(network_condition(&node).await?.status);
        host.does(
            "STATUS",
            r#"echo '{"code": 50, "msg": "no lease yet"}'; exit 1"#,
        )?;
        let condition = network_condition(&node).await?;
        assert_eq!(
            condition.message,
            "network scripted is not ready: CNI plugin script refused STATUS (code 50): no lease yet"
        );
        host.does("STATUS", "sleep 1000")?;
        let condition = network_condition(&node).await?;
        assert!(
            condition
                .message
                .contains("did not end within 5 s of STATUS"),
            "{condition:?}"
        );
        host.does("STATUS", "")?;
        assert!(network_condition(&node).await?.status);
        // An older configuration is not asked: its plugins do not know the word.
        host.does("STATUS", "exit 1")?;
        host.script("1.0.0")?;
        assert!(network_condition(&node).await?.status);
        host.finish(node).await
    })
}
