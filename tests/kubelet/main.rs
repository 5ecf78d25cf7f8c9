//! A node under a kubelet: what one calls, in its order and at its pace, with either side killed
//! now and then, until the node goes down in order.
//!
//! `NODE_AGENT_KUBELET_SECONDS` says how long it runs; two minutes unless given.

mod driver;
mod growth;
mod pod;
mod scenario;
mod turmoil;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::node::Node;

use driver::{Machine, Running, Wanted, lock};
use growth::Sample;
use turmoil::{all_up, change, identities, kill_agent};

/// Exec probes a second.
const PROBES: u32 = 100;

/// The pause between two kills.
const BETWEEN_KILLS: Duration = Duration::from_secs(6);

fn duration() -> Result<Duration> {
    let given = std::env::var("NODE_AGENT_KUBELET_SECONDS");
    let seconds = given.map_or(Ok(120), |text| text.parse());
    Ok(Duration::from_secs(
        seconds.context("NODE_AGENT_KUBELET_SECONDS")?,
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_does_for_a_kubelet_what_it_asks() -> Result<()> {
    let duration = duration()?;
    let mut node = Node::start().await?;
    let machine = Machine {
        cri: node.cri.clone(),
        image: node.image.clone(),
        logs: node.agent.logs(),
        volumes: node.agent.directory().join("pods"),
        tally: Arc::default(),
        numbers: Arc::default(),
    };
    let wanted = Wanted::default();
    for pod in scenario::pods() {
        lock(&wanted).insert(pod.uid.clone(), pod);
    }
    let start = || Running::start(machine.clone(), Arc::clone(&wanted), PROBES);
    let mut kubelet = start();
    all_up(&kubelet).await?;
    let mut count = 0;
    let begun = Instant::now();

    // Nobody is killed, and nothing grows.
    change(&node, &machine, &wanted, &mut count, begun + duration / 6).await?;
    let before = Sample::take(&node.agent).await?;
    change(&node, &machine, &wanted, &mut count, begun + duration / 2).await?;
    let after = Sample::take(&node.agent).await?;
    let (probes, seconds) = (
        machine.tally.answered("ExecSync"),
        begun.elapsed().as_secs(),
    );
    println!("{probes} probes in {seconds} seconds");
    ensure!(
        u64::try_from(probes)? > u64::from(PROBES / 8) * (duration / 2).as_secs(),
        "{probes} probes in {seconds} seconds"
    );
    println!("before: {before}\nafter:  {after}");
    let first = identities(&machine).await?;
    ensure!(first.len() == scenario::SERVING, "{first:?}");

    // Either side is killed, again and again.
    let mut kills = 0;
    while begun.elapsed() < duration {
        let until = Instant::now() + BETWEEN_KILLS;
        kills += 1;
        if kills % 3 == 0 {
            kubelet.kill().await;
            kubelet = start();
            all_up(&kubelet).await?;
        } else {
            kill_agent(&mut node, &machine).await?;
        }
        if kills == 2 {
            // The manifest of the static pod has changed.
            lock(&wanted).remove("manifest-1");
            let pod = scenario::of_file("manifest-2");
            lock(&wanted).insert(pod.uid.clone(), pod);
        }
        change(&node, &machine, &wanted, &mut count, until).await?;
    }
    all_up(&kubelet).await?;
    ensure!(
        identities(&machine).await? == first,
        "containers did not go on"
    );

    kubelet.shut_down().await;
    scenario::check(&machine.tally, &machine.volumes)?;
    ensure!(
        !lock(&machine.numbers).is_empty(),
        "no numbered line of any log was read"
    );
    kubelet.clear().await;
    println!(
        "{count} pods came and went, {kills} kills\n{}",
        machine.tally.report()
    );
    let unexpected = machine.tally.unexpected();
    ensure!(unexpected.is_empty(), "{unexpected:#?}");
    for call in [
        "ExecSync",
        "ReopenContainerLog",
        "RemoveContainer",
        "RemovePodSandbox",
        "RemoveImage",
        "GetContainerEvents",
        "UpdateRuntimeConfig",
        "ListPodSandboxStats",
        "Status",
    ] {
        ensure!(
            machine.tally.answered(call) > 0,
            "{call} was never answered"
        );
    }
    after.has_not_grown(&before)?;
    node.finish().await
}
