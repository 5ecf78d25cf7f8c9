//! The daemon: reads its configuration, assembles the crates, serves until it is told to stop.
//!
//! Owns: the composition and nothing else. Start reading at [`wiring`].
#![forbid(unsafe_code)]

mod cli;
mod config;
mod host;
mod measured;
mod memory;
mod records;
mod signals;
mod socket;
mod streams;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, ConfigCommand};

/// Worker threads beyond this many do not make a node faster.
const MAX_WORKERS: usize = 4;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    if let Some(Command::Config(ConfigCommand::Default)) = &cli.command {
        return print(&config::default_text());
    }
    let config = config::load(cli)?;
    if let Some(Command::Config(ConfigCommand::Check)) = &cli.command {
        return Ok(());
    }
    memory::prepare();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers.min(MAX_WORKERS))
        .enable_all()
        .build()?;
    let traces = {
        let _carries_the_export = runtime.enter();
        agent_telemetry::start(&config.log)?
    };
    let result = runtime.block_on(wiring::serve(config));
    // The last spans are sent while the runtime is there to carry them.
    drop(traces);
    // What blocks still (a pull's writes, a sweep) is cut off; every step of it can be.
    runtime.shutdown_background();
    result
}

fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// Tells what failed on standard error: the log may not have been started.
fn report(error: &anyhow::Error) {
    use std::io::Write;
    let mut stderr = std::io::stderr().lock();
    // Nobody is left to tell when this fails.
    drop(writeln!(stderr, "error: {error}"));
    for cause in error.chain().skip(1) {
        drop(writeln!(stderr, "  {cause}"));
    }
}
