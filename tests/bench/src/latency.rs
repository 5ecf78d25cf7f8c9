//! Time of each call, back to back and paced, the peers in turns.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cli::Cli;
use crate::cycle::{Call, Pace, Times};
use crate::peer::Peer;
use crate::report::{Figure, Report};
use crate::stats::{milliseconds, percentile};

/// Seconds a container is given to end; those here end at once.
const GRACE: i64 = 10;

/// Measures both paces.
pub(crate) async fn measure(cli: &Cli, peers: &[Peer], report: &mut Report) -> Result<()> {
    let call = if cli.pause_every_call {
        cli.pause()
    } else {
        Duration::ZERO
    };
    let paced = format!("paced by {} ms", cli.pause);
    let tight = Pace {
        grace: GRACE,
        ..Pace::default()
    };
    for (title, pace) in [
        ("back to back", tight),
        (
            paced.as_str(),
            Pace {
                group: cli.pause(),
                call,
                ..tight
            },
        ),
    ] {
        let cycles = in_turns(cli, peers, pace).await?;
        for (peer, cycles) in peers.iter().zip(&cycles) {
            add(report, title, &peer.name, cycles);
        }
    }
    Ok(())
}

async fn in_turns(cli: &Cli, peers: &[Peer], pace: Pace) -> Result<Vec<Vec<Times>>> {
    let mut cycles = vec![Vec::new(); peers.len()];
    let mut left = cli.runs;
    while left > 0 {
        let turn = left.min(cli.turn.max(1));
        for (peer, cycles) in peers.iter().zip(&mut cycles) {
            tokio::time::sleep(cli.rest()).await;
            // The turn's first pod wakes what has slept since its last turn; it is not counted.
            for number in 0..=turn {
                let mut times = Times::new();
                let pod = peer
                    .pods
                    .up(pace, &mut times)
                    .await
                    .with_context(|| peer.name.clone())?;
                peer.pods
                    .exec(&pod, pace, &mut times)
                    .await
                    .with_context(|| peer.name.clone())?;
                peer.pods
                    .down(&pod, pace, &mut times)
                    .await
                    .with_context(|| peer.name.clone())?;
                if number > 0 {
                    cycles.push(times);
                }
            }
        }
        left -= turn;
    }
    Ok(cycles)
}

fn add(report: &mut Report, title: &str, peer: &str, cycles: &[Times]) {
    let sum = |calls: &[Call]| -> Vec<f64> {
        cycles
            .iter()
            .map(|times| {
                times
                    .iter()
                    .filter(|(call, _)| calls.contains(call))
                    .map(|(_, time)| milliseconds(*time))
                    .sum()
            })
            .collect()
    };
    let mut row = |name: &str, samples: &[f64]| {
        for percent in [50, 95] {
            let label = format!("{name}, p{percent}");
            report.add(
                &Figure::lower(title, &label, "ms"),
                peer,
                percentile(samples, percent),
            );
        }
    };
    for call in Call::UP {
        row(&format!("{call:?}"), &sum(&[call]));
    }
    row("up (the three above)", &sum(&Call::UP));
    row("ExecSync of /bin/true", &sum(&[Call::ExecSync]));
    for call in Call::DOWN {
        row(&format!("{call:?}"), &sum(&[call]));
    }
    row("down (the four above)", &sum(&Call::DOWN));
}
