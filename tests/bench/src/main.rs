//! Drives the same pod cycle over CRI against several endpoints in turns, and prints what it cost.
//! Owns: starting the peers on private roots, the measurements, the report. Does not: judge;
//! no test runs it, and it fails only when a call fails. Start reading at `cycle.rs`.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is its work"
)]

mod cli;
mod client;
mod cycle;
mod latency;
mod lists;
mod logs;
mod memory;
mod more;
mod peer;
mod private;
mod probes;
mod pull;
mod report;
mod restart;
mod stats;
mod streaming;
mod throughput;
mod told;

use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use clap::Parser as _;
use harness::image::Image;
use harness::registry::Registry;

use crate::cli::{Cli, Measure};
use crate::peer::{Peer, Surroundings};
use crate::private::Private;
use crate::report::Report;
use crate::told::Told;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let _private = if cli.host_network {
        Private::default()
    } else {
        private::enter().context("enter namespaces of the benchmark's own")?
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure(cli))
}

/// Measures, and takes everything away again: at the end, after a failure, and when told to end.
async fn measure(cli: &Cli) -> Result<()> {
    let mut told = Told::listen()?;
    let registry = Registry::start()?;
    let mut peers = Vec::new();
    // Blocking work, such as making the large image, is finished before a signal is heard.
    let measured = tokio::select! {
        biased;
        signal = told.ended() => Err(anyhow!("ended by {signal}")),
        measured = figures(cli, &registry, &mut peers) => measured,
    };
    let report = match measured {
        Ok(report) => report,
        Err(error) => {
            for peer in peers {
                let name = peer.name.clone();
                if let Err(error) = peer.abandon().await {
                    eprintln!("warning: {name} keeps something of this run: {error:?}");
                }
            }
            return Err(error);
        }
    };
    for peer in peers {
        let name = peer.name.clone();
        peer.stop().await.with_context(|| format!("stop {name}"))?;
    }
    print!("{}", report.table());
    if let Some(file) = &cli.json {
        std::fs::write(file, report.json()).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// Starts the peers and measures them.
async fn figures(cli: &Cli, registry: &Registry, peers: &mut Vec<Peer>) -> Result<Report> {
    let image = registry.push("bench/busybox:1", &Image::busybox()?)?;
    let surroundings = Surroundings {
        registry,
        image: &image,
        cli,
    };
    for (number, spec) in cli.peers().iter().enumerate() {
        eprintln!("starting {}", spec.name());
        let peer = Peer::start(spec, number, &surroundings).await;
        peers.push(peer.with_context(|| format!("start {}", spec.name()))?);
    }
    let mut report = Report::new(cli.baseline(), peers);
    for measure in cli.measures() {
        eprintln!("measuring {measure}");
        match measure {
            Measure::Latency => latency::measure(cli, peers, &mut report).await?,
            Measure::Throughput => throughput::measure(cli, peers, &mut report).await?,
            Measure::Memory => memory::measure(cli, peers, &mut report).await?,
            Measure::More => more::measure(cli, peers, &mut report).await?,
            Measure::Lists => lists::measure(cli, peers, &mut report).await?,
            Measure::Restart => restart::measure(cli, peers, &mut report).await?,
            Measure::Pull => pull::measure(cli, peers, registry, &mut report).await?,
            Measure::Logs => logs::measure(cli, peers, &mut report).await?,
            Measure::Streaming => streaming::measure(cli, peers, &mut report).await?,
            Measure::Probes => probes::measure(cli, peers, &mut report).await?,
        }
    }
    Ok(report)
}
