//! A shim or the launcher dies.

use anyhow::{Context as _, Result};
use harness::node::Node;
use harness::process::Process;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::cri::{ContainerState, PodSandboxState};

fn launcher(node: &Node) -> Result<Process> {
    node.agent
        .helpers()?
        .into_iter()
        .find(|one| one.parent == node.agent.pid())
        .context("a launcher runs")
}

fn shims(node: &Node) -> Result<Vec<Process>> {
    Ok(node
        .agent
        .helpers()?
        .into_iter()
        .filter(|one| one.parent != node.agent.pid())
        .collect())
}

fn kill9(process: &Process) -> Result<()> {
    Ok(kill(
        Pid::from_raw(process.pid.cast_signed()),
        Signal::SIGKILL,
    )?)
}

async fn is_lost(node: &Node, sandbox: &str, container: &str) -> Result<()> {
    let status = node.exited(container).await?;
    assert_eq!((status.exit_code, status.reason.as_str()), (255, "Unknown"));
    harness::wait::until_async("the sandbox is not ready", || async {
        let state = node.cri.sandbox_status(sandbox).await?.state();
        Ok((state == PodSandboxState::SandboxNotready).then_some(()))
    })
    .await?;
    assert!(node.cri.exec(container, &["/bin/true"], 5).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_killed_shims_sandbox_is_cleared_away() -> Result<()> {
    let node = Node::start().await?;
    let (one, two) = (node.sandbox("one").await?, node.sandbox("two").await?);
    let lost = node.run(&one, "main", &["/bin/sleep", "17320"]).await?;
    let other = node.run(&two, "main", &["/bin/pause"]).await?;
    // The first shim is the first sandbox's.
    let mut all = shims(&node)?;
    all.sort_by_key(|shim| shim.pid);
    assert_eq!(all.len(), 2, "{all:#?}");
    kill9(&all[0])?;
    is_lost(&node, &one.id, &lost).await?;
    assert_eq!(
        node.cri.container_status(&other).await?.state(),
        ContainerState::ContainerRunning
    );
    assert_eq!(node.exec(&other, "echo works").await?, "works\n");
    let alive = node.agent.running("/bin/sleep 17320");
    assert_eq!(alive, [], "its container is killed");
    node.cri.stop_sandbox(&one.id).await?;
    node.cri.remove_sandbox(&one.id).await?;
    node.finish().await
}

#[tokio::test]
async fn a_shim_killed_without_an_agent_is_found_out() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("one").await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    let all = shims(&node)?;
    node.agent.kill9()?;
    all.iter().try_for_each(kill9)?;
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    is_lost(&node, &sandbox.id, &id).await?;
    node.finish().await
}

#[tokio::test]
async fn an_exit_that_was_written_counts_even_if_the_shim_is_gone() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("one").await?;
    let id = node
        .run(&sandbox, "main", &["/bin/sh", "-c", "exit 21"])
        .await?;
    assert_eq!(node.exited(&id).await?.exit_code, 21);
    let all = shims(&node)?;
    node.agent.kill9()?;
    all.iter().try_for_each(kill9)?;
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    assert_eq!(node.cri.container_status(&id).await?.exit_code, 21);
    node.finish().await
}

#[tokio::test]
async fn a_killed_launcher_is_replaced() -> Result<()> {
    let node = Node::start().await?;
    let one = node.sandbox("one").await?;
    let id = node.run(&one, "main", &["/bin/pause"]).await?;
    let first = launcher(&node)?;
    kill9(&first)?;
    harness::wait::until_async("another sandbox runs", || async {
        let two = node.sandbox("two").await?;
        node.run(&two, "main", &["/bin/pause"])
            .await
            .map(|_| Some(()))
    })
    .await?;
    assert_ne!(launcher(&node)?.pid, first.pid);
    assert_eq!(node.exec(&id, "echo works").await?, "works\n");
    node.finish().await
}

#[tokio::test]
async fn a_launcher_ends_with_its_agent() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("one").await?;
    let first = launcher(&node)?;
    node.restart().await?;
    harness::wait::until("the old launcher is gone", || {
        Ok(harness::process::read(first.pid)
            .is_none_or(|one| one.state == 'Z' || one.command != first.command)
            .then_some(()))
    })?;
    assert_eq!(
        node.agent.helpers()?.len(),
        2,
        "one launcher, and the shim of before"
    );
    node.cri.remove_sandbox(&sandbox.id).await?;
    node.finish().await
}

#[tokio::test]
async fn helpers_are_small_closed_and_out_of_the_pods_reach() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("one").await?;
    node.run(&sandbox, "main", &["/bin/pause"]).await?;
    let cgroup = format!("/{}/_shims", node.agent.slot().names().cgroup);
    for helper in node.agent.helpers()? {
        let cgroups = std::fs::read_to_string(format!("/proc/{}/cgroup", helper.pid))?;
        assert!(
            cgroups.lines().any(|line| line.ends_with(&cgroup)),
            "{cgroups}"
        );
        assert!(
            helper.program.to_string_lossy().starts_with("/memfd:"),
            "{}",
            helper.program.display()
        );
        let pss = harness::process::pss_kib(helper.pid);
        // Of an unoptimised build; the benchmark has the figures of the real one.
        assert!(pss < 4096, "{pss} KiB in {}", helper.command);
    }
    let abstract_sockets = std::fs::read_to_string("/proc/net/unix")?;
    let ours = node.agent.directory().display().to_string();
    assert!(
        !abstract_sockets
            .lines()
            .any(|line| line.contains(&format!("@{ours}")) || line.contains("@node-agent"))
    );
    node.finish().await
}

fn send(process: &Process, signal: Signal) -> Result<()> {
    Ok(kill(Pid::from_raw(process.pid.cast_signed()), signal)?)
}

#[tokio::test]
async fn a_shim_that_hangs_is_killed_by_a_stop() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("one").await?;
    let id = node.run(&sandbox, "main", &["/bin/sleep", "17321"]).await?;
    send(&shims(&node)?[0], Signal::SIGSTOP)?;
    node.cri.stop_sandbox(&sandbox.id).await?;
    let status = node.cri.container_status(&id).await?;
    assert_eq!((status.exit_code, status.reason.as_str()), (255, "Unknown"));
    node.cri.remove_sandbox(&sandbox.id).await?;
    node.finish().await
}

#[tokio::test]
async fn what_a_hanging_shim_keeps_is_taken_back_once_it_answers() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("one").await?;
    let id = node.run(&sandbox, "main", &["/bin/sleep", "17322"]).await?;
    let hanging = shims(&node)?;
    send(&hanging[0], Signal::SIGSTOP)?;
    node.restart().await?;
    // Its containers are ended all the same, and the sandbox says that it is not whole.
    is_lost(&node, &sandbox.id, &id).await?;
    for _ in 0..2 {
        let refused = node.cri.remove_sandbox(&sandbox.id).await.err();
        let said = refused.map(|status| status.message().to_owned());
        let said = said.context("a shim that hangs cannot be ended")?;
        assert!(
            said.contains("does not answer") || said.contains("still there"),
            "{said}"
        );
    }
    let alive = node.agent.running("/bin/sleep 17322");
    assert_eq!(alive, [], "its container is killed");
    send(&hanging[0], Signal::SIGCONT)?;
    node.cri.remove_sandbox(&sandbox.id).await?;
    node.finish().await
}
