//! Memory of the daemon and of what is kept for each pod, as proportional set size.

use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::process;

use crate::cli::Cli;
use crate::peer::Peer;
use crate::report::{Figure, Report};

/// How long a peer is left alone before it counts as idle: garbage may be collected meanwhile.
const REST: Duration = Duration::from_secs(20);

/// Reads every peer's memory idle, and with pods.
pub(crate) async fn measure(cli: &Cli, peers: &[Peer], report: &mut Report) -> Result<()> {
    for peer in peers {
        tokio::time::sleep(REST).await;
        let idle = Held::read(peer)?;
        let pods = peer
            .pods
            .many_up(cli.pods)
            .await
            .with_context(|| peer.name.clone())?;
        let full = Held::read(peer)?;
        peer.pods
            .many_down(pods)
            .await
            .with_context(|| peer.name.clone())?;
        tokio::time::sleep(REST).await;
        let after = Held::read(peer)?;
        let title = format!("memory (PSS) with {} pods", cli.pods);
        let mut row = |label: &str, unit: &'static str, value: f64| {
            report.add(&Figure::lower(&title, label, unit), &peer.name, value);
        };
        row(
            "daemon and its helpers, no pods",
            "MiB",
            mib(idle.daemon + idle.monitors),
        );
        row(
            "daemon and its helpers, pods gone",
            "MiB",
            mib(after.daemon + after.monitors),
        );
        row("daemon", "MiB", mib(full.daemon));
        row("monitors of all pods", "MiB", mib(full.monitors));
        row("pause processes of all pods", "MiB", mib(full.pauses));
        row(
            "daemon and monitors",
            "MiB",
            mib(full.daemon + full.monitors),
        );
        row(
            "a pod's share of daemon and monitors",
            "KiB",
            per_pod(full.kept().saturating_sub(idle.kept()), cli.pods),
        );
    }
    Ok(())
}

/// KiB held by each kind of process.
#[derive(Clone, Copy, Debug)]
struct Held {
    daemon: u64,
    monitors: u64,
    pauses: u64,
}

impl Held {
    fn read(peer: &Peer) -> Result<Self> {
        let sum = |pids: Vec<u32>| pids.into_iter().map(process::pss_kib).sum();
        Ok(Self {
            daemon: peer.daemon().map_or(0, process::pss_kib),
            monitors: sum(peer.monitors()?),
            pauses: sum(peer.pauses()?),
        })
    }

    fn kept(self) -> u64 {
        self.daemon + self.monitors
    }
}

fn mib(kib: u64) -> f64 {
    float(kib) / 1024.0
}

fn per_pod(kib: u64, pods: usize) -> f64 {
    float(kib) / float(pods as u64).max(1.0)
}

fn float(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}
