//! Pods started per second, flat out with their teardown, at a concurrency.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use crate::cli::Cli;
use crate::cycle::{Call, Pace, Pods, Times};
use crate::peer::Peer;
use crate::report::{Figure, Report};
use crate::stats::{milliseconds, percentile};

const TURNS: u32 = 2;

/// Measures every peer twice, in turns.
pub(crate) async fn measure(cli: &Cli, peers: &[Peer], report: &mut Report) -> Result<()> {
    let mut found = vec![(0.0, Vec::new()); peers.len()];
    for _ in 0..TURNS {
        for (peer, (rate, ups)) in peers.iter().zip(&mut found) {
            let begun = Instant::now();
            let seen = flat_out(
                &peer.pods,
                cli.concurrency,
                begun + Duration::from_secs(cli.seconds),
            )
            .await
            .with_context(|| peer.name.clone())?;
            *rate += count(seen.len()) / begun.elapsed().as_secs_f64() / f64::from(TURNS);
            ups.extend(seen);
        }
    }
    let title = format!("flat out at concurrency {}", cli.concurrency);
    for (peer, (rate, ups)) in peers.iter().zip(&found) {
        report.add(
            &Figure::higher(&title, "pods started and removed", "1/s"),
            &peer.name,
            *rate,
        );
        for percent in [50, 95] {
            let label = format!("up, p{percent}");
            report.add(
                &Figure::lower(&title, &label, "ms"),
                &peer.name,
                percentile(ups, percent),
            );
        }
    }
    Ok(())
}

/// Returns the time each pod took to come up.
async fn flat_out(pods: &Pods, concurrency: usize, end: Instant) -> Result<Vec<f64>> {
    let mut workers: JoinSet<_> = (0..concurrency)
        .map(|_| {
            let pods = pods.clone();
            async move {
                let mut ups: Vec<f64> = Vec::new();
                while Instant::now() < end {
                    let mut times = Times::new();
                    let pod = pods.up(Pace::default(), &mut times).await?;
                    ups.push(
                        times
                            .iter()
                            .filter(|(call, _)| Call::UP.contains(call))
                            .map(|(_, time)| milliseconds(*time))
                            .sum(),
                    );
                    pods.down(&pod, Pace::default(), &mut times).await?;
                }
                Ok::<_, anyhow::Error>(ups)
            }
        })
        .collect();
    let mut all: Vec<f64> = Vec::new();
    while let Some(ended) = workers.join_next().await {
        all.extend(ended??);
    }
    Ok(all)
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}
