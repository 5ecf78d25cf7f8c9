//! Drives the same pod cycle over CRI against several endpoints in turns, and prints what it cost.
//!
//! Owns: starting the peers on private roots, the measurements, the report. Does not: judge;
//! no test runs it, and it fails only when a call fails. Start reading at `cycle.rs`.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is its work"
)]

mod cgroups;
mod cli;
mod cycle;
mod latency;
mod memory;
mod more;
mod peer;
mod private;
mod pull;
mod report;
mod restart;
mod stats;
mod throughput;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use harness::image::Image;
use harness::registry::Registry;

use crate::cli::{Cli, Measure};
use crate::peer::{Peer, Surroundings};
use crate::private::Private;
use crate::report::Report;

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

async fn measure(cli: &Cli) -> Result<()> {
    let registry = Registry::start()?;
    let image = registry.push("bench/busybox:1", &Image::busybox()?)?;
    let surroundings = Surroundings {
        registry: &registry,
        image: &image,
        cli,
    };
    let mut peers = Vec::new();
    for (number, spec) in cli.peers().iter().enumerate() {
        eprintln!("starting {}", spec.name());
        peers.push(
            Peer::start(spec, number, &surroundings)
                .await
                .with_context(|| format!("start {}", spec.name()))?,
        );
    }
    let mut report = Report::new(cli.baseline(), &peers);
    for measure in cli.measures() {
        eprintln!("measuring {measure}");
        match measure {
            Measure::Latency => latency::measure(cli, &peers, &mut report).await?,
            Measure::Throughput => throughput::measure(cli, &peers, &mut report).await?,
            Measure::Memory => memory::measure(cli, &peers, &mut report).await?,
            Measure::More => more::measure(cli, &peers, &mut report).await?,
            Measure::Restart => restart::measure(cli, &mut peers, &mut report).await?,
            Measure::Pull => pull::measure(cli, &peers, &registry, &mut report).await?,
        }
    }
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
