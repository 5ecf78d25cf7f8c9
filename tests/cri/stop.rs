//! Stopping and removing containers.

use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::image::Image;
use harness::node::Node;
use proto::cri::{ContainerState, Signal};
use serde_json::json;

/// Prints the signal's name and ends with 7.
const TRAPS: &str = "for s in TERM USR1 INT; do trap \"echo got $s; exit 7\" $s; done; echo ready; while :; do sleep 0.05; done";

async fn ready(
    node: &Node,
    container: &str,
    sandbox: &harness::node::Sandbox,
    name: &str,
) -> Result<()> {
    let log = node.log_of(sandbox, &node.container_config(name, &[]));
    harness::wait::until(&format!("{container} is ready"), || {
        Ok(std::fs::read_to_string(&log)?
            .contains("ready")
            .then_some(()))
    })
}

#[tokio::test]
async fn the_stop_signal_comes_first_and_its_exit_code_counts() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node
        .run(&sandbox, "main", &["/bin/sh", "-c", TRAPS])
        .await?;
    ready(&node, &id, &sandbox, "main").await?;
    node.cri.stop_container(&id, 60).await?;
    let status = node.cri.container_status(&id).await?;
    assert_eq!(
        (status.state(), status.exit_code),
        (ContainerState::ContainerExited, 7)
    );
    node.finish().await
}

#[tokio::test]
async fn the_signal_is_the_requests_or_the_images() -> Result<()> {
    let node = Node::start().await?;
    let image = Image::busybox_with(
        vec![],
        &json!({"Env": ["PATH=/bin"], "StopSignal": "SIGUSR1"}),
    )?;
    let image = node.registry.push("test/usr1:1", &image)?;
    node.cri.pull(&image).await?;
    let sandbox = node.sandbox("pod").await?;
    for (name, signal, wanted) in [
        ("image", Signal::RuntimeDefault, "got USR1"),
        ("request", Signal::Sigint, "got INT"),
    ] {
        let mut config = node.container_config(name, &["/bin/sh", "-c", TRAPS]);
        config.image = Some(harness::cri::image_spec(&image));
        config.stop_signal = signal.into();
        let id = node.run_of(&sandbox, &config).await?;
        ready(&node, &id, &sandbox, name).await?;
        node.cri.stop_container(&id, 60).await?;
        let log = std::fs::read_to_string(node.log_of(&sandbox, &config))?;
        assert!(log.contains(wanted), "{name}: {log}");
    }
    node.finish().await
}

#[tokio::test]
async fn whoever_does_not_listen_is_killed_after_the_timeout() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/sleep", "1000"]).await?;
    node.cri.stop_container(&id, 1).await?;
    let status = node.cri.container_status(&id).await?;
    assert_eq!(
        (status.state(), status.exit_code),
        (ContainerState::ContainerExited, 137)
    );
    node.finish().await
}

#[tokio::test]
async fn a_later_stop_with_a_shorter_timeout_shortens_the_earlier() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/sleep", "1000"]).await?;
    let patient = tokio::spawn({
        let (cri, id) = (node.cri.clone(), id.clone());
        async move { cri.stop_container(&id, 600).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    node.cri.stop_container(&id, 0).await?;
    // The earlier one would take ten minutes.
    tokio::time::timeout(Duration::from_secs(30), patient)
        .await
        .context("the earlier stop goes on")???;
    node.finish().await
}

#[tokio::test]
async fn exec_works_while_a_stop_waits() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/sleep", "1000"]).await?;
    let patient = tokio::spawn({
        let (cri, id) = (node.cri.clone(), id.clone());
        async move { cri.stop_container(&id, 600).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(node.exec(&id, "echo still here").await?, "still here\n");
    node.cri.stop_container(&id, 0).await?;
    patient.await??;
    node.finish().await
}

#[tokio::test]
async fn stop_and_remove_may_be_repeated_and_take_unknown_ids() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    for _ in 0..2 {
        node.cri.stop_container(&id, 10).await?;
    }
    for _ in 0..2 {
        node.cri.remove_container(&id).await?;
    }
    node.cri.stop_container(&id, 10).await?;
    let never = "0123456789abcdef".repeat(4);
    node.cri.stop_container(&never, 10).await?;
    node.cri.remove_container(&never).await?;
    node.finish().await
}

#[tokio::test]
async fn a_running_container_may_be_removed_and_is_killed() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/sleep", "31415"]).await?;
    assert_eq!(node.agent.running("/bin/sleep 31415").len(), 1);
    node.cri.remove_container(&id).await?;
    assert_eq!(node.agent.running("/bin/sleep 31415"), []);
    node.finish().await
}

#[tokio::test]
async fn a_sandboxs_containers_stop_side_by_side() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(
            node.run(
                &sandbox,
                &format!("main-{number}"),
                &["/bin/sh", "-c", TRAPS],
            )
            .await?,
        );
    }
    node.cri.stop_sandbox(&sandbox.id).await?;
    for id in ids {
        assert_eq!(
            node.cri.container_status(&id).await?.state(),
            ContainerState::ContainerExited
        );
    }
    node.finish().await
}

#[tokio::test]
async fn with_the_main_process_goes_its_whole_cgroup() -> Result<()> {
    use proto::cri::NamespaceMode;
    let node = Node::start().await?;
    for (name, mode) in [
        ("shared", NamespaceMode::Pod),
        ("host", NamespaceMode::Node),
    ] {
        let mut config = node.sandbox_config(name);
        let context = config
            .linux
            .get_or_insert_default()
            .security_context
            .get_or_insert_default();
        context.namespace_options.get_or_insert_default().pid = mode.into();
        let sandbox = node.sandbox_of(config).await?;
        let line = "setsid sleep 27182 & setsid sh -c 'sleep 27182 & wait' & sleep 0.1; exit 5";
        let mut config = node.container_config(name, &["/bin/sh", "-c", line]);
        let context = config
            .linux
            .get_or_insert_default()
            .security_context
            .get_or_insert_default();
        context.namespace_options.get_or_insert_default().pid = mode.into();
        let id = node.run_of(&sandbox, &config).await?;
        assert_eq!(node.exited(&id).await?.exit_code, 5, "{name}");
        harness::wait::until("the container's other processes are gone", || {
            Ok(node.agent.running("sleep 27182").is_empty().then_some(()))
        })?;
    }
    node.finish().await
}
