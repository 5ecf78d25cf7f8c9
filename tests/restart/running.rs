//! What runs does not notice that its agent is gone.

use std::time::Duration;

use anyhow::Result;
use harness::node::Node;
use proto::cri::{ContainerState, PodSandboxState};

#[tokio::test]
async fn logs_exec_stop_and_exit_codes_go_on_as_before() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let line = "trap 'exit 7' TERM; n=0; while :; do echo $n; n=$((n+1)); sleep 0.01; done";
    let config = node.container_config("main", &["/bin/sh", "-c", line]);
    let id = node.run_of(&sandbox, &config).await?;
    let before = node.cri.container_status(&id).await?;
    for _ in 0..3 {
        node.restart().await?;
        assert_eq!(node.cri.container_status(&id).await?, before);
        assert_eq!(
            node.cri.sandbox_status(&sandbox.id).await?.state(),
            PodSandboxState::SandboxReady
        );
        assert_eq!(node.exec(&id, "echo inside").await?, "inside\n");
    }
    node.cri.stop_container(&id, 30).await?;
    let after = node.cri.container_status(&id).await?;
    assert_eq!(
        (after.state(), after.exit_code),
        (ContainerState::ContainerExited, 7)
    );
    let text = std::fs::read_to_string(node.log_of(&sandbox, &config))?;
    let numbers: Vec<usize> = text
        .lines()
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    assert_eq!(
        numbers,
        (0..numbers.len()).collect::<Vec<_>>(),
        "no line is lost or doubled"
    );
    node.finish().await
}

#[tokio::test]
async fn an_exit_without_an_agent_is_told_by_the_next() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let go = node.agent.directory().join("go");
    std::fs::create_dir(&go)?;
    let mut config = node.container_config(
        "main",
        &[
            "/bin/sh",
            "-c",
            "while [ ! -e /go/now ]; do sleep 0.01; done; echo last; exit 11",
        ],
    );
    config.mounts = vec![proto::cri::Mount {
        container_path: "/go".to_owned(),
        host_path: go.display().to_string(),
        ..Default::default()
    }];
    let id = node.run_of(&sandbox, &config).await?;
    node.agent.kill9()?;
    std::fs::write(go.join("now"), "")?;
    let log = node.log_of(&sandbox, &config);
    harness::wait::until("the last line", || {
        Ok(std::fs::read_to_string(&log)?
            .contains("last")
            .then_some(()))
    })?;
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    let status = node.exited(&id).await?;
    assert_eq!((status.exit_code, status.reason.as_str()), (11, "Error"));
    assert!(status.finished_at >= status.started_at, "{status:?}");
    node.finish().await
}

#[tokio::test]
async fn everything_created_is_still_there_and_can_be_started() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let config = node.container_config("main", &["/bin/sh", "-c", "exit 3"]);
    let id = node
        .cri
        .create_container(&sandbox.id, &config, &sandbox.config)
        .await?;
    node.restart().await?;
    assert_eq!(
        node.cri.container_status(&id).await?.state(),
        ContainerState::ContainerCreated
    );
    node.cri.start_container(&id).await?;
    assert_eq!(node.exited(&id).await?.exit_code, 3);
    node.restart().await?;
    assert_eq!(node.cri.container_status(&id).await?.exit_code, 3);
    node.finish().await
}

#[tokio::test]
async fn sigterm_leaves_containers_running() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    let ctl_id = node
        .ctl()?
        .ok(&["run", "-d", "--name", "mine", &node.image, "/bin/pause"])?;
    node.agent.terminate()?;
    assert!(
        !node.agent.socket().exists() || harness::cri::channel(node.agent.socket()).await.is_err()
    );
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    assert_eq!(
        node.cri.container_status(&id).await?.state(),
        ContainerState::ContainerRunning
    );
    assert_eq!(node.ctl()?.ok(&["ps", "-q", "--no-trunc"])?, ctl_id);
    node.ctl()?.ok(&["rm", "-f", "mine"])?;
    node.finish().await
}

#[tokio::test]
async fn new_sandboxes_take_nothing_from_the_old() -> Result<()> {
    let mut node = Node::start().await?;
    let mut seen = Vec::new();
    for number in 0..6 {
        let sandbox = node.sandbox(&format!("pod-{number}")).await?;
        seen.push(
            node.cri
                .sandbox_status(&sandbox.id)
                .await?
                .network
                .unwrap_or_default()
                .ip,
        );
        node.restart().await?;
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6, "{seen:?}");
    node.finish().await
}

#[tokio::test]
async fn an_exec_times_out_without_an_agent() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    let call = tokio::spawn({
        let (cri, id) = (node.cri.clone(), id.clone());
        async move { cri.exec(&id, &["/bin/sleep", "14142"], 2).await }
    });
    // A session of a moment ago is told apart from what other tests run by its agent.
    let runs = |node: &Node| !node.agent.running("/bin/sleep 14142").is_empty();
    harness::wait::until_async("the session runs", || async {
        Ok(runs(&node).then_some(()))
    })
    .await?;
    node.agent.kill9()?;
    assert!(call.await?.is_err());
    harness::wait::until("the session is killed", || Ok((!runs(&node)).then_some(())))?;
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    assert_eq!(node.exec(&id, "echo inside").await?, "inside\n");
    node.finish().await
}

#[tokio::test]
async fn a_stop_under_way_is_finished_by_a_retry() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/sleep", "1000"]).await?;
    let call = tokio::spawn({
        let (cri, id) = (node.cri.clone(), id.clone());
        async move { cri.stop_container(&id, 600).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.restart().await?;
    assert!(call.await?.is_err());
    node.cri.stop_container(&id, 0).await?;
    assert_eq!(node.cri.container_status(&id).await?.exit_code, 137);
    node.finish().await
}
