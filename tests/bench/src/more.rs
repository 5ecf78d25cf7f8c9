//! The start of one more pod when many run, against the start of the first.

use anyhow::{Context as _, Result};

use crate::cli::Cli;
use crate::cycle::{Call, Pace, Times};
use crate::peer::Peer;
use crate::report::{Figure, Report};
use crate::stats::{milliseconds, percentile};

const SAMPLES: usize = 20;

/// Measures every peer, one after another: their running pods must not meet.
pub(crate) async fn measure(cli: &Cli, peers: &[Peer], report: &mut Report) -> Result<()> {
    for peer in peers {
        let first = start_of_one(peer)
            .await
            .with_context(|| peer.name.clone())?;
        let running = peer
            .pods
            .many_up(cli.running)
            .await
            .with_context(|| peer.name.clone())?;
        let more = start_of_one(peer)
            .await
            .with_context(|| peer.name.clone())?;
        peer.pods
            .many_down(running)
            .await
            .with_context(|| peer.name.clone())?;
        let mut row = |label: &str, unit: &'static str, value: f64| {
            report.add(
                &Figure::lower("one more pod", label, unit),
                &peer.name,
                value,
            );
        };
        row("up when none runs, p50", "ms", first);
        row(&format!("up when {} run, p50", cli.running), "ms", more);
        row("the second against the first", "times", more / first);
    }
    Ok(())
}

async fn start_of_one(peer: &Peer) -> Result<f64> {
    let mut ups = Vec::new();
    for number in 0..=SAMPLES {
        let mut times = Times::new();
        let pod = peer.pods.up(Pace::default(), &mut times).await?;
        peer.pods
            .down(&pod, Pace::default(), &mut Vec::new())
            .await?;
        if number > 0 {
            ups.push(
                times
                    .iter()
                    .filter(|(call, _)| Call::UP.contains(call))
                    .map(|(_, time)| milliseconds(*time))
                    .sum(),
            );
        }
    }
    Ok(percentile(&ups, 50))
}
