//! The agent is killed a little later each time, so that every step of a call is met; then the
//! call is made again, must succeed, and nothing may be left over at the end.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use harness::node::{Node, Sandbox};
use proto::cri::{ContainerConfig, ContainerState};
use tonic::Status;

/// How many kills there are: together they span the whole call, and a little more.
const KILLS: u32 = 24;

/// Makes a call undisturbed; returns its answer, and how much later each kill is to be.
async fn step_of<T>(call: impl Future<Output = Result<T, Status>>) -> Result<(T, Duration)> {
    let begin = Instant::now();
    let answer = call.await?;
    Ok((answer, begin.elapsed() * 5 / 4 / KILLS))
}

/// Makes a call, kills the agent after a while, and starts it again.
async fn killed<T, F>(node: &mut Node, after: Duration, call: F) -> Result<()>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Status>> + Send + 'static,
{
    let call = tokio::spawn(call);
    tokio::time::sleep(after).await;
    node.restart().await?;
    // It may have been done before the kill.
    let _ = call.await.context("the call's task")?;
    Ok(())
}

async fn works(node: &Node, container: &str) -> Result<()> {
    assert_eq!(
        node.cri.container_status(container).await?.state(),
        ContainerState::ContainerRunning
    );
    assert_eq!(node.exec(container, "echo works").await?, "works\n");
    Ok(())
}

async fn created(node: &Node, sandbox: &Sandbox, config: &ContainerConfig) -> Result<String> {
    Ok(node
        .cri
        .create_container(&sandbox.id, config, &sandbox.config)
        .await?)
}

#[tokio::test]
async fn killed_in_run_pod_sandbox() -> Result<()> {
    let mut node = Node::start().await?;
    node.sandbox("warm").await?;
    let config = node.sandbox_config("measured");
    let (_, step) = step_of(node.cri.run_sandbox(&config)).await?;
    node.remove_all().await?;
    for number in 0..KILLS {
        let config = node.sandbox_config(&format!("pod-{number}"));
        let (cri, asked) = (node.cri.clone(), config.clone());
        killed(&mut node, step * number, async move {
            cri.run_sandbox(&asked).await
        })
        .await?;
        let sandbox = node
            .sandbox_of(config)
            .await
            .with_context(|| format!("retry {number}"))?;
        let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
        works(&node, &id).await?;
        node.cri.remove_sandbox(&sandbox.id).await?;
        node.nothing_left()
            .await
            .with_context(|| format!("kill {number}"))?;
    }
    node.finish().await
}

#[tokio::test]
async fn killed_in_create_container() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("measured").await?;
    let config = node.container_config("main", &["/bin/pause"]);
    let create = node
        .cri
        .create_container(&sandbox.id, &config, &sandbox.config);
    let (_, step) = step_of(create).await?;
    node.remove_all().await?;
    for number in 0..KILLS {
        let sandbox = node.sandbox(&format!("pod-{number}")).await?;
        let (cri, asked, of) = (node.cri.clone(), config.clone(), sandbox.clone());
        killed(&mut node, step * number, async move {
            cri.create_container(&of.id, &asked, &of.config).await
        })
        .await?;
        let id = created(&node, &sandbox, &config)
            .await
            .with_context(|| format!("retry {number}"))?;
        node.cri.start_container(&id).await?;
        works(&node, &id).await?;
        node.cri.remove_sandbox(&sandbox.id).await?;
        node.nothing_left()
            .await
            .with_context(|| format!("kill {number}"))?;
    }
    node.finish().await
}

#[tokio::test]
async fn killed_in_start_container() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("measured").await?;
    let config = node.container_config("main", &["/bin/pause"]);
    let id = created(&node, &sandbox, &config).await?;
    let ((), step) = step_of(node.cri.start_container(&id)).await?;
    node.remove_all().await?;
    for number in 0..KILLS {
        let sandbox = node.sandbox(&format!("pod-{number}")).await?;
        let id = created(
            &node,
            &sandbox,
            &node.container_config("main", &["/bin/pause"]),
        )
        .await?;
        let (cri, asked) = (node.cri.clone(), id.clone());
        killed(&mut node, step * number, async move {
            cri.start_container(&asked).await
        })
        .await?;
        // Unlike the other calls a start is not repeated by a kubelet that finds it done.
        if node.cri.container_status(&id).await?.state() == ContainerState::ContainerCreated {
            node.cri
                .start_container(&id)
                .await
                .with_context(|| format!("retry {number}"))?;
        }
        works(&node, &id).await?;
        node.cri.remove_sandbox(&sandbox.id).await?;
        node.nothing_left()
            .await
            .with_context(|| format!("kill {number}"))?;
    }
    node.finish().await
}

#[tokio::test]
async fn killed_in_exec_sync() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    let (_, step) = step_of(node.cri.exec(&id, &["/bin/true"], 5)).await?;
    for number in 0..KILLS {
        let (cri, asked) = (node.cri.clone(), id.clone());
        killed(&mut node, step * number, async move {
            cri.exec(&asked, &["/bin/true"], 5).await
        })
        .await?;
        works(&node, &id).await?;
    }
    node.finish().await
}

#[tokio::test]
async fn killed_in_stop_and_remove() -> Result<()> {
    let mut node = Node::start().await?;
    let line = "trap 'exit 9' TERM; while :; do sleep 0.01; done";
    let command = ["/bin/sh", "-c", line];
    let sandbox = node.sandbox("measured").await?;
    let id = node.run(&sandbox, "main", &command).await?;
    // The longest of the four calls: the others are met whole, and what follows them too.
    let ((), step) = step_of(node.cri.stop_container(&id, 30)).await?;
    node.remove_all().await?;
    for number in 0..KILLS {
        let sandbox = node.sandbox(&format!("pod-{number}")).await?;
        let id = node.run(&sandbox, "main", &command).await?;
        let after = step * number;
        let (cri, asked) = (node.cri.clone(), id.clone());
        killed(&mut node, after, async move {
            cri.stop_container(&asked, 30).await
        })
        .await?;
        node.cri
            .stop_container(&id, 30)
            .await
            .with_context(|| format!("retry of the stop {number}"))?;
        let status = node.cri.container_status(&id).await?;
        assert!(matches!(status.exit_code, 9 | 143), "{status:?}");
        let (cri, asked) = (node.cri.clone(), id.clone());
        killed(&mut node, after, async move {
            cri.remove_container(&asked).await
        })
        .await?;
        node.cri
            .remove_container(&id)
            .await
            .with_context(|| format!("retry of the removal {number}"))?;
        let (cri, asked) = (node.cri.clone(), sandbox.id.clone());
        killed(
            &mut node,
            after,
            async move { cri.stop_sandbox(&asked).await },
        )
        .await?;
        node.cri
            .stop_sandbox(&sandbox.id)
            .await
            .with_context(|| format!("retry of the sandbox's stop {number}"))?;
        let (cri, asked) = (node.cri.clone(), sandbox.id.clone());
        killed(
            &mut node,
            after,
            async move { cri.remove_sandbox(&asked).await },
        )
        .await?;
        node.cri
            .remove_sandbox(&sandbox.id)
            .await
            .with_context(|| format!("retry of the sandbox's removal {number}"))?;
        node.nothing_left()
            .await
            .with_context(|| format!("kill {number}"))?;
    }
    node.finish().await
}

#[tokio::test]
async fn killed_under_load_again_and_again() -> Result<()> {
    let mut node = Node::start().await?;
    for round in 0..6_u64 {
        let calls: Vec<_> = (0..8)
            .map(|number| {
                let (cri, image) = (node.cri.clone(), node.image.clone());
                let config = node.sandbox_config(&format!("pod-{round}-{number}"));
                tokio::spawn(async move {
                    let sandbox = cri.run_sandbox(&config).await?;
                    let main = harness::pod::container_config("main", &image, &["/bin/pause"]);
                    let id = cri.create_container(&sandbox, &main, &config).await?;
                    cri.start_container(&id).await?;
                    cri.stop_sandbox(&sandbox).await?;
                    cri.remove_sandbox(&sandbox).await
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(7 * (round + 1))).await;
        node.restart().await?;
        for call in calls {
            // Most are cut off by the kill.
            let _ = call.await?;
        }
        node.remove_all()
            .await
            .with_context(|| format!("round {round}"))?;
        node.nothing_left()
            .await
            .with_context(|| format!("round {round}"))?;
    }
    node.finish().await
}
