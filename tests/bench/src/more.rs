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
        let full = format!("when {} run", cli.running);
        for (when, ups) in [("when none runs", &first), (full.as_str(), &more)] {
            for call in Call::UP {
                row(&format!("{call:?} {when}, p50"), "ms", p50(ups, &[call]));
            }
            row(&format!("up {when}, p50"), "ms", p50(ups, &Call::UP));
        }
        row(
            "the second against the first",
            "times",
            p50(&more, &Call::UP) / p50(&first, &Call::UP),
        );
    }
    Ok(())
}

async fn start_of_one(peer: &Peer) -> Result<Vec<Times>> {
    let mut ups = Vec::new();
    for number in 0..=SAMPLES {
        let mut times = Times::new();
        let pod = peer.pods.up(Pace::default(), &mut times).await?;
        peer.pods
            .down(&pod, Pace::default(), &mut Vec::new())
            .await?;
        if number > 0 {
            ups.push(times);
        }
    }
    Ok(ups)
}

fn p50(ups: &[Times], calls: &[Call]) -> f64 {
    let sum = |times: &Times| {
        let those = times.iter().filter(|(call, _)| calls.contains(call));
        those.map(|(_, time)| milliseconds(*time)).sum()
    };
    let samples: Vec<f64> = ups.iter().map(sum).collect();
    percentile(&samples, 50)
}
