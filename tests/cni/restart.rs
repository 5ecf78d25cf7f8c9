//! The agent dies, the machine boots: what plugins made is released from the record.

use anyhow::Result;
use harness::node::Node;
use harness::{process, wait};
use proto::cri::PodSandboxState;
use serde_json::json;

use crate::host::{DUAL, on_host, pinned};

#[test]
fn a_pod_outlives_the_agent_and_is_released_without_its_configuration() -> Result<()> {
    on_host(async |host| {
        host.configure(DUAL)?;
        let mut node = host.node().await?;
        let sandbox = node.sandbox("one").await?;
        let before = node.cri.sandbox_status(&sandbox.id).await?.network;
        host.unconfigure()?;
        node.restart().await?;
        let after = node.cri.sandbox_status(&sandbox.id).await?;
        assert_eq!(after.state(), PodSandboxState::SandboxReady);
        assert_eq!(after.network, before);
        assert_eq!(host.reserved(), 2);
        node.cri.stop_sandbox(&sandbox.id).await?;
        assert_eq!(host.reserved(), 0);
        host.finish(node).await
    })
}

#[test]
fn a_pod_whose_joining_was_cut_short_is_released() -> Result<()> {
    on_host(async |host| {
        host.script("1.0.0")?;
        host.does(
            "ADD",
            r#"echo $$ >"$here/plugin"; echo $CNI_CONTAINERID >"$here/part"; mv "$here/part" "$here/self"; exec sleep 16384"#,
        )?;
        let mut node = host.node().await?;
        let cri = node.cri.clone();
        let config = node.sandbox_config("cut-short");
        let running = tokio::spawn(async move { cri.run_sandbox(&config).await });
        wait::until_async("the plugin runs", || async {
            Ok(host.path("bin/self").exists().then_some(()))
        })
        .await?;
        let id = host.wrote("self")?.trim().to_owned();
        node.restart().await?;
        assert!(running.await?.is_err());
        let plugin = host.wrote("plugin")?.trim().parse()?;
        assert!(
            process::read(plugin)
                .is_none_or(|one| one.state == 'Z' || one.command != "sleep 16384"),
            "the plugin would go on making what is released"
        );
        wait::until_async("it is released", || async {
            Ok(host.calls().contains(&format!("DEL {id}")).then_some(()))
        })
        .await?;
        wait::until_async("nobody lists it", || async {
            Ok(node.cri.sandbox_status(&id).await.is_err().then_some(()))
        })
        .await?;
        assert_eq!(pinned(&node.agent.state().join("netns")), 0);
        host.finish(node).await
    })
}

#[test]
fn after_a_boot_a_pod_is_released_without_a_namespace() -> Result<()> {
    on_host(async |host| {
        let id = host.path("boot_id");
        std::fs::write(&id, "6f0a5a7c-0000-4000-8000-000000000001\n")?;
        host.script("1.0.0")?;
        let options = host.options("cni");
        let options = options.with("", format!("boot_id_file = \"{}\"", id.display()));
        let mut node = Node::start_with(options).await?;
        let sandbox = node.sandbox("one").await?;
        node.agent.kill9()?;
        node.agent.scope().clear()?;
        let pin = node.agent.state().join("netns").join(&sandbox.id);
        assert!(
            pin.exists(),
            "a file where the namespace was pinned outlives the boot"
        );
        std::fs::write(&id, "6f0a5a7c-0000-4000-8000-000000000002\n")?;
        host.calls();
        node.agent.spawn_again()?;
        node.agent.serving().await?;
        node.cri = node.agent.cri().await?;
        wait::until_async("it is released", || async {
            Ok(host
                .calls()
                .contains(&format!("DEL {}", sandbox.id))
                .then_some(()))
        })
        .await?;
        let environment = host.wrote("DEL.environment")?;
        assert!(!environment.contains("CNI_NETNS"), "{environment}");
        assert_eq!(
            host.input("DEL")?["prevResult"]["ips"][0]["address"],
            "10.9.0.2/24"
        );
        assert_eq!(
            node.cri.sandbox_status(&sandbox.id).await?.state(),
            PodSandboxState::SandboxNotready
        );
        host.finish(node).await
    })
}

#[test]
fn plugins_of_1_1_0_hear_at_each_start_who_is_left() -> Result<()> {
    on_host(async |host| {
        host.script("1.1.0")?;
        let mut node = host.node().await?;
        let sandbox = node.sandbox("one").await?;
        let gone = node.sandbox("gone").await?;
        node.cri.stop_sandbox(&gone.id).await?;
        let told = async |host: &crate::host::Host| {
            wait::until_async("plugins are told", || async {
                Ok(host
                    .calls()
                    .iter()
                    .any(|call| call.starts_with("GC"))
                    .then_some(()))
            })
            .await
        };
        host.calls();
        node.restart().await?;
        told(&host).await?;
        assert_eq!(
            host.input("GC")?["cni.dev/valid-attachments"],
            json!([{"containerID": sandbox.id, "ifname": "eth0"}])
        );
        // An older configuration has no such word.
        host.script("1.0.0")?;
        host.calls();
        node.restart().await?;
        node.cri.stop_sandbox(&sandbox.id).await?;
        let calls = host.calls();
        assert!(
            calls.iter().all(|call| !call.starts_with("GC")),
            "{calls:?}"
        );
        host.finish(node).await
    })
}
