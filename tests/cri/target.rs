//! Ephemeral containers: in the PID namespace of another container.

use anyhow::Result;
use harness::node::Node;
use proto::cri::{ContainerConfig, NamespaceMode, NamespaceOption};
use tonic::Code;

use crate::isolation::with_context;

fn beside(node: &Node, name: &str, line: &str, target: &str) -> ContainerConfig {
    with_context(node, name, line, |context| {
        context.namespace_options = Some(NamespaceOption {
            pid: NamespaceMode::Target.into(),
            target_id: target.to_owned(),
            ..NamespaceOption::default()
        });
    })
}

#[tokio::test]
async fn a_container_shares_the_processes_of_its_target() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let target = node.run(&sandbox, "app", &["/bin/pause"]).await?;
    let other = node.run(&sandbox, "other", &["/bin/pause"]).await?;
    let config = beside(&node, "debugger", "exec sleep 1000", &target);
    let debugger = node.run_of(&sandbox, &config).await?;
    let namespace = "readlink /proc/self/ns/pid";
    let own = node.exec(&debugger, namespace).await?;
    assert_eq!(own, node.exec(&target, namespace).await?);
    assert_ne!(own, node.exec(&other, namespace).await?);
    // Its /proc is that namespace's, and its files are its own.
    assert_eq!(node.exec(&debugger, "cat /proc/1/comm").await?, "pause\n");
    node.exec(&debugger, "touch /mine").await?;
    node.exec(&target, "test ! -e /mine").await?;
    assert_eq!(
        node.exec(&target, "ps -o comm | grep -c sleep").await?,
        "1\n"
    );
    // One more, beside the one that is beside it.
    let config = beside(&node, "second", "exec sleep 1001", &debugger);
    let second = node.run_of(&sandbox, &config).await?;
    assert_eq!(own, node.exec(&second, namespace).await?);
    // It ends without the others, and they do not outlive the first.
    node.cri.stop_container(&second, 0).await?;
    assert_eq!(node.exec(&debugger, "echo alive").await?, "alive\n");
    node.cri.stop_container(&target, 0).await?;
    assert_eq!(node.exited(&debugger).await?.exit_code, 137);
    node.finish().await
}

#[tokio::test]
async fn a_target_whose_processes_are_the_pods_gives_those() -> Result<()> {
    let node = Node::start().await?;
    let mut config = node.sandbox_config("pod");
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.namespace_options.get_or_insert_default().pid = NamespaceMode::Pod.into();
    let sandbox = node.sandbox_of(config).await?;
    let share = |context: &mut proto::cri::LinuxContainerSecurityContext| {
        context.namespace_options.get_or_insert_default().pid = NamespaceMode::Pod.into();
    };
    let app = with_context(&node, "app", "exec pause", share);
    let target = node.run_of(&sandbox, &app).await?;
    let config = beside(&node, "debugger", "exec sleep 1000", &target);
    let debugger = node.run_of(&sandbox, &config).await?;
    let namespace = "readlink /proc/self/ns/pid";
    assert_eq!(
        node.exec(&debugger, namespace).await?,
        node.exec(&target, namespace).await?
    );
    // The namespace is the pod's, and outlives the target.
    node.cri.stop_container(&target, 0).await?;
    assert_eq!(node.exec(&debugger, "echo alive").await?, "alive\n");
    node.finish().await
}

#[tokio::test]
async fn a_target_must_run_in_the_same_sandbox() -> Result<()> {
    let node = Node::start().await?;
    let (sandbox, foreign) = (node.sandbox("pod").await?, node.sandbox("foreign").await?);
    let elsewhere = node.run(&foreign, "app", &["/bin/pause"]).await?;
    let ended = node.run(&sandbox, "ended", &["/bin/true"]).await?;
    node.exited(&ended).await?;
    let created = node.container_config("created", &["/bin/pause"]);
    let created = node
        .cri
        .create_container(&sandbox.id, &created, &sandbox.config)
        .await?;
    for (target, code) in [
        ("nobody", Code::NotFound),
        (elsewhere.as_str(), Code::NotFound),
        (ended.as_str(), Code::FailedPrecondition),
        (created.as_str(), Code::FailedPrecondition),
    ] {
        let config = beside(&node, "debugger", "true", target);
        let refused = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await;
        let Err(status) = refused else {
            anyhow::bail!("{target}: accepted")
        };
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(target), "{status:?}");
    }
    node.finish().await
}
