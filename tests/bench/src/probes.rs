//! Probes as a kubelet sends them: short programs run in containers at a steady rate, for long
//! enough that whatever a call leaves behind shows.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use harness::process;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::cli::Cli;
use crate::cycle::{Call, Pace, Pod, Pods, Times};
use crate::peer::Peer;
use crate::report::{Figure, Report};
use crate::stats::{milliseconds, percentile};

/// Pods that the calls go to, in turns.
const PODS: usize = 10;

/// The share of the calls that comes first and is not counted: caches are filled then.
const WARM_UP: usize = 10;

/// Measures every peer, one after another.
pub(crate) async fn measure(cli: &Cli, peers: &[Peer], report: &mut Report) -> Result<()> {
    for peer in peers {
        let pods = peer.pods.many_up(PODS).await;
        let pods = pods.with_context(|| peer.name.clone())?;
        let probed = probes(peer, &pods, cli, report).await;
        peer.pods.many_down(pods).await?;
        probed.with_context(|| peer.name.clone())?;
    }
    Ok(())
}

async fn probes(peer: &Peer, pods: &[Pod], cli: &Cli, report: &mut Report) -> Result<()> {
    let period = Duration::from_secs(1) / cli.probe_rate.max(1);
    at_rate(&peer.pods, pods, period, cli.probes / WARM_UP).await?;
    let before = Held::read(peer)?;
    let begun = Instant::now();
    let mut taken = at_rate(&peer.pods, pods, period, cli.probes).await?;
    let lasted = begun.elapsed();
    let after = Held::read(peer)?;
    let title = format!(
        "{} probes at {} a second to {PODS} pods",
        cli.probes, cli.probe_rate
    );
    let mut row = |label: &str, unit: &'static str, value: f64| {
        report.add(&Figure::lower(&title, label, unit), &peer.name, value);
    };
    for share in [50, 95, 99] {
        row(
            &format!("ExecSync, p{share}"),
            "ms",
            percentile(&taken, share),
        );
    }
    let last = taken.split_off(taken.len() - taken.len() / WARM_UP);
    row("the last tenth of them, p50", "ms", percentile(&last, 50));
    row("all of them", "s", lasted.as_secs_f64());
    row("daemon before (PSS)", "KiB", before.daemon);
    row("daemon after", "KiB", after.daemon);
    row("monitors before (PSS)", "KiB", before.monitors);
    row("monitors after", "KiB", after.monitors);
    Ok(())
}

/// Makes that many calls, one each `period` whether or not those before have ended; returns how
/// long each took, in the order in which they ended.
async fn at_rate(pods: &Pods, to: &[Pod], period: Duration, count: usize) -> Result<Vec<f64>> {
    let mut clock = tokio::time::interval(period);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    let mut taken = Vec::with_capacity(count);
    for pod in to.iter().cycle().take(count) {
        clock.tick().await;
        let (pods, pod) = (pods.clone(), pod.clone());
        under_way.spawn(async move {
            let mut times = Times::new();
            pods.exec(&pod, Pace::default(), &mut times).await?;
            Ok::<_, anyhow::Error>(times)
        });
        while let Some(ended) = under_way.try_join_next() {
            taken.extend(of(&ended??));
        }
    }
    while let Some(ended) = under_way.join_next().await {
        taken.extend(of(&ended??));
    }
    Ok(taken)
}

fn of(times: &Times) -> impl Iterator<Item = f64> {
    let execs = times.iter().filter(|(call, _)| *call == Call::ExecSync);
    execs.map(|(_, time)| milliseconds(*time))
}

/// KiB held.
struct Held {
    daemon: f64,
    monitors: f64,
}

impl Held {
    fn read(peer: &Peer) -> Result<Self> {
        let sum = |pids: &[u32]| -> f64 {
            let all: u64 = pids.iter().copied().map(process::pss_kib).sum();
            u32::try_from(all).map_or(f64::INFINITY, f64::from)
        };
        Ok(Self {
            daemon: sum(&Vec::from_iter(peer.daemon())),
            monitors: sum(&peer.monitors()?),
        })
    }
}
