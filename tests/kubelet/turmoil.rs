//! What happens to the node meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use harness::image::{Image, LayerBuilder, default_config};
use harness::node::Node;
use harness::wait;

use crate::driver::{Machine, Running, Wanted, config, lock};
use crate::scenario;

/// How often a pod comes and goes, and how many are there at a time.
const PASSING: Duration = Duration::from_secs(2);
const PASSING_AT_ONCE: usize = 3;

/// Has pods come and go, and images that nobody uses, until `until`.
pub(crate) async fn change(
    node: &Node,
    machine: &Machine,
    wanted: &Wanted,
    count: &mut usize,
    until: Instant,
) -> Result<()> {
    while Instant::now() < until {
        let pod = scenario::passing(*count);
        lock(wanted).insert(pod.uid.clone(), pod);
        if let Some(old) = count.checked_sub(PASSING_AT_ONCE) {
            lock(wanted).remove(&scenario::passing(old).uid);
        }
        let mut layer = LayerBuilder::new();
        layer.file("number", count.to_string().as_bytes(), 0o644)?;
        let image = Image::new(vec![layer.gzip()?], &default_config());
        let garbage = node
            .registry
            .push(&format!("test/garbage:{count}"), &image)?;
        machine
            .tally
            .call("PullImage", machine.cri.pull(&garbage))
            .await;
        *count += 1;
        tokio::time::sleep(PASSING).await;
    }
    Ok(())
}

/// Kills the agent under way and starts it again.
pub(crate) async fn kill_agent(node: &mut Node, machine: &Machine) -> Result<()> {
    machine.tally.disturb();
    node.agent.kill9()?;
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    // Channels find it again.
    wait::until_async("the agent answers", || async {
        Ok(machine.cri.version().await.is_ok().then_some(()))
    })
    .await?;
    machine.tally.disturb();
    Ok(())
}

/// Returns the id of every main container that serves, sorted.
pub(crate) async fn identities(machine: &Machine) -> Result<Vec<String>> {
    let request = proto::cri::ListContainersRequest { filter: None };
    let list = machine.cri.runtime.clone().list_containers(request).await?;
    let running = proto::cri::ContainerState::ContainerRunning;
    let serves = |one: &&proto::cri::Container| {
        one.state() == running
            && one
                .labels
                .get(config::UID)
                .is_some_and(|uid| uid.starts_with("web-"))
            && one
                .labels
                .get(config::NAME)
                .is_some_and(|name| name == "main")
    };
    let mut found: Vec<String> = list
        .into_inner()
        .containers
        .iter()
        .filter(serves)
        .map(|one| one.id.clone())
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Returns once every pod has come as far as it can.
pub(crate) async fn all_up(running: &Running) -> Result<()> {
    let up = || async { Ok(running.kubelet.missing().is_empty().then_some(())) };
    let waited = wait::until_async("all pods are up", up).await;
    waited.with_context(|| format!("missing: {:#?}", running.kubelet.missing()))
}
