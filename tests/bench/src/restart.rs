//! The daemon's restart under running pods, until it serves.

use anyhow::{Context as _, Result};

use crate::cli::Cli;
use crate::peer::Peer;
use crate::report::{Figure, Report};
use crate::stats::milliseconds;

/// Restarts every peer that the benchmark itself started.
pub(crate) async fn measure(cli: &Cli, peers: &mut [Peer], report: &mut Report) -> Result<()> {
    for peer in peers {
        if !peer.can_restart() {
            continue;
        }
        let name = peer.name.clone();
        let pods = peer
            .pods
            .many_up(cli.restart_pods)
            .await
            .with_context(|| name.clone())?;
        let took = peer
            .restart()
            .await
            .with_context(|| format!("restart {name}"))?;
        peer.pods
            .many_down(pods)
            .await
            .with_context(|| name.clone())?;
        let label = format!("until it serves, {} pods running", cli.restart_pods);
        report.add(
            &Figure::lower("restart", &label, "ms"),
            &name,
            milliseconds(took),
        );
    }
    Ok(())
}
