//! The shim is killed a little later each time, alone or with its agent, so that every step of a
//! pod's start and stop is met; then the pod is removed, and nothing may be left of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::node::{Node, Sandbox};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::cri::{NamespaceMode, PodSandboxConfig, PodSandboxState};
use tokio::task::JoinHandle;
use tonic::Status;

/// How many kills span a call.
const KILLS: u32 = 24;

/// Nobody waits this long for a pod whose shim is dead.
const HANGS: Duration = Duration::from_secs(60);

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victims {
    Shim,
    ShimThenAgent,
    AgentThenShim,
}

impl Victims {
    /// Takes all of them in turn.
    fn of(number: u32) -> Self {
        match number % 4 {
            0 | 1 => Self::Shim,
            2 => Self::ShimThenAgent,
            _ => Self::AgentThenShim,
        }
    }
}

/// Kills every shim there is now, and returns how many.
fn kill_shims(node: &Node) -> Result<usize> {
    let helpers = node.agent.helpers()?;
    // A launcher has no sandbox's name, and the reaper of a shared PID namespace is a shim's child.
    let named: Vec<_> = helpers
        .iter()
        .filter(|one| one.name.starts_with("shim:"))
        .collect();
    let is_reaper = |pid: u32| named.iter().any(|shim| shim.pid == pid);
    let shims = named.iter().filter(|one| !is_reaper(one.parent));
    // One that has ended meanwhile is not missed.
    Ok(shims
        .filter(|one| kill(Pid::from_raw(one.pid.cast_signed()), Signal::SIGKILL).is_ok())
        .count())
}

/// Kills the victims after a while, as soon as there is a shim, unless the call is over before.
async fn strike<T>(
    node: &mut Node,
    victims: Victims,
    after: Duration,
    call: &JoinHandle<T>,
) -> Result<()> {
    tokio::time::sleep(after).await;
    if matches!(victims, Victims::AgentThenShim) {
        node.agent.kill9()?;
        kill_shims(node)?;
    } else {
        while kill_shims(node)? == 0 && !call.is_finished() {
            tokio::task::yield_now().await;
        }
    }
    if matches!(victims, Victims::ShimThenAgent) {
        node.agent.kill9()?;
    }
    Ok(())
}

/// Waits for the end of a call whose shim was killed, and has an agent again.
async fn recover<T>(
    node: &mut Node,
    victims: Victims,
    call: JoinHandle<Result<T, Status>>,
) -> Result<Option<T>> {
    let ended = tokio::time::timeout(HANGS, call)
        .await
        .context("the call hangs")??;
    if !matches!(victims, Victims::Shim) {
        node.agent.spawn_again()?;
        node.agent.serving().await?;
        node.cri = node.agent.cri().await?;
    }
    Ok(ended.ok())
}

/// Every second sandbox shares its PID namespace, which has a first process of its own.
fn sandbox_config(node: &Node, number: u32) -> (PodSandboxConfig, NamespaceMode) {
    let pid = if number.is_multiple_of(2) {
        NamespaceMode::Container
    } else {
        NamespaceMode::Pod
    };
    let mut config = node.sandbox_config(&format!("pod-{number}"));
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.namespace_options.get_or_insert_default().pid = pid.into();
    (config, pid)
}

/// Runs a sandbox with one container.
fn start(node: &Node, number: u32) -> JoinHandle<Result<(Sandbox, String), Status>> {
    let (config, pid) = sandbox_config(node, number);
    let line = "trap 'exit 9' TERM; while :; do sleep 0.01; done";
    let mut container = node.container_config("main", &["/bin/sh", "-c", line]);
    let context = container
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.namespace_options.get_or_insert_default().pid = pid.into();
    let cri = node.cri.clone();
    tokio::spawn(async move {
        let id = cri.run_sandbox(&config).await?;
        let main = cri.create_container(&id, &container, &config).await?;
        cri.start_container(&main).await?;
        Ok((Sandbox { id, config }, main))
    })
}

/// Stops and removes a container and its sandbox.
fn stop(node: &Node, sandbox: &Sandbox, main: &str) -> JoinHandle<Result<(), Status>> {
    let (cri, sandbox, main) = (node.cri.clone(), sandbox.id.clone(), main.to_owned());
    tokio::spawn(async move {
        cri.stop_container(&main, 30).await?;
        cri.remove_container(&main).await?;
        cri.stop_sandbox(&sandbox).await?;
        cri.remove_sandbox(&sandbox).await
    })
}

/// Returns how long a pod takes to start, and to stop; kills are spread over these times.
async fn measure(node: &Node) -> Result<(Duration, Duration)> {
    let begin = Instant::now();
    let (sandbox, main) = start(node, 0).await??;
    let started = begin.elapsed();
    stop(node, &sandbox, &main).await??;
    let stopped = begin.elapsed() - started;
    // Its shim must not be taken for the next pod's.
    node.nothing_left().await?;
    Ok((started, stopped))
}

/// Fails unless whatever CRI shows of the pods can be removed, and nothing is left then.
async fn clears_away(node: &Node) -> Result<()> {
    node.remove_all().await?;
    node.nothing_left().await
}

#[tokio::test]
async fn the_shim_is_killed_while_its_pod_starts() -> Result<()> {
    let mut node = Node::start().await?;
    let (span, _) = measure(&node).await?;
    for number in 0..KILLS {
        let victims = Victims::of(number);
        let call = start(&node, number);
        strike(&mut node, victims, span / KILLS * number, &call).await?;
        let started = recover(&mut node, victims, call).await?;
        let said = || format!("kill {number} of {victims:?}");
        if let Some((sandbox, main)) = started {
            // Whoever was told that it runs hears what became of it.
            let status = node.exited(&main).await.with_context(said)?;
            let end = (status.exit_code, status.reason.as_str());
            ensure!(end == (255, "Unknown"), "{}: {status:?}", said());
            let state = node.cri.sandbox_status(&sandbox.id).await?.state();
            ensure!(state == PodSandboxState::SandboxNotready, "{}", said());
        }
        clears_away(&node).await.with_context(said)?;
    }
    // The node is none the worse for it.
    let (sandbox, main) = start(&node, KILLS).await??;
    assert_eq!(node.exec(&main, "echo works").await?, "works\n");
    stop(&node, &sandbox, &main).await??;
    node.finish().await
}

#[tokio::test]
async fn the_shim_is_killed_while_its_pod_stops() -> Result<()> {
    let mut node = Node::start().await?;
    let (_, span) = measure(&node).await?;
    for number in 0..KILLS {
        let victims = Victims::of(number);
        let (sandbox, main) = start(&node, number).await??;
        let call = stop(&node, &sandbox, &main);
        strike(&mut node, victims, span / KILLS * number, &call).await?;
        let said = || format!("kill {number} of {victims:?}");
        let stopped = recover(&mut node, victims, call).await.with_context(said)?;
        if matches!(victims, Victims::Shim) {
            // Without a shim there is nothing that a stop could fail to end.
            stopped.with_context(said)?;
        } else {
            stop(&node, &sandbox, &main).await?.with_context(said)?;
        }
        clears_away(&node).await.with_context(said)?;
    }
    node.finish().await
}

#[tokio::test]
async fn a_session_ends_with_its_shim() -> Result<()> {
    let node = Node::start().await?;
    for number in 0..4 {
        let (_, main) = start(&node, number).await??;
        let call = tokio::spawn({
            let (cri, main) = (node.cri.clone(), main.clone());
            async move { cri.exec(&main, &["/bin/sleep", "16180"], 0).await }
        });
        let runs = || !node.agent.running("/bin/sleep 16180").is_empty();
        harness::wait::until_async("the session runs", || async { Ok(runs().then_some(())) })
            .await?;
        assert_eq!(kill_shims(&node)?, 1);
        let ended = tokio::time::timeout(HANGS, call)
            .await
            .context("the call hangs")??;
        assert!(ended.is_err(), "{ended:?}");
        harness::wait::until("the session is killed", || Ok((!runs()).then_some(())))?;
        clears_away(&node).await?;
    }
    node.finish().await
}
