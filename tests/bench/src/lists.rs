//! The lists that a kubelet asks for every second, with many containers running.

use std::time::Instant;

use anyhow::{Context as _, Result};
use proto::cri::{
    ListContainerStatsRequest, ListContainersRequest, ListPodSandboxRequest,
    ListPodSandboxStatsRequest,
};

use crate::cli::Cli;
use crate::peer::Peer;
use crate::report::{Figure, Report};
use crate::stats::{milliseconds, percentile};

/// Calls of each.
const SAMPLES: usize = 50;

/// Measures every peer, one after another: their running pods must not meet.
pub(crate) async fn measure(cli: &Cli, peers: &[Peer], report: &mut Report) -> Result<()> {
    for peer in peers {
        let running = peer.pods.many_up(cli.running).await;
        let running = running.with_context(|| peer.name.clone())?;
        let listed = lists(peer, cli.running, report).await;
        peer.pods.many_down(running).await?;
        listed.with_context(|| peer.name.clone())?;
    }
    Ok(())
}

async fn lists(peer: &Peer, running: usize, report: &mut Report) -> Result<()> {
    macro_rules! timed {
        ($name:literal, $method:ident, $request:expr) => {
            let mut taken = Vec::new();
            for number in 0..=SAMPLES {
                let mut runtime = peer.pods.cri.runtime.clone();
                let begun = Instant::now();
                runtime.$method($request).await.context($name)?;
                // Whoever samples on demand does so in the first call.
                if number > 0 {
                    taken.push(milliseconds(begun.elapsed()));
                }
            }
            let title = format!("lists with {running} containers");
            for share in [50, 95] {
                let label = format!("{}, p{share}", $name);
                let figure = Figure::lower(&title, &label, "ms");
                report.add(&figure, &peer.name, percentile(&taken, share));
            }
        };
    }
    timed!(
        "ListContainers",
        list_containers,
        ListContainersRequest::default()
    );
    timed!(
        "ListPodSandbox",
        list_pod_sandbox,
        ListPodSandboxRequest::default()
    );
    timed!(
        "ListContainerStats",
        list_container_stats,
        ListContainerStatsRequest::default()
    );
    timed!(
        "ListPodSandboxStats",
        list_pod_sandbox_stats,
        ListPodSandboxStatsRequest::default()
    );
    Ok(())
}
