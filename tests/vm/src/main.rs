//! What can only be tested on a machine of one's own: pure cgroup v2 under systemd, and what
//! becomes of running pods when their node is restarted, upgraded and rebooted.
//!
//! `tests/vm/run` starts this inside a virtual machine, as root, with the programs beside it. It
//! asks for a reboot by its exit code and is started again after it. A check of something else that
//! these machines have and the tests' own do not (AppArmor, idmapped mounts) is a file in `checks`
//! and a line in `CHECKS`.
#![forbid(unsafe_code)]

mod checks;
mod guest;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};

use guest::{Guest, Module, Trees};

/// Where the disk remembers that the first half is done.
const HALFWAY: &str = "/var/lib/vm-tests/halfway";
/// Asks for a reboot; `tests/vm/image` knows it.
const REBOOT: u8 = 75;

#[tokio::main]
#[expect(
    clippy::print_stdout,
    reason = "a program that reports to whoever runs it"
)]
async fn main() -> ExitCode {
    let kind = std::env::args().nth(1).unwrap_or_default();
    let again = Path::new(HALFWAY).exists();
    let reboots = kind == "unified";
    let done = match (kind.as_str(), again) {
        ("hybrid", _) => on(Trees::Hybrid, Module::Apparmor, checks::HYBRID).await,
        ("selinux", _) => on(Trees::Unified, Module::Selinux, checks::SELINUX).await,
        (_, false) => before().await,
        (_, true) => after().await,
    };
    match done {
        Ok(0) if reboots && !again => ExitCode::from(REBOOT),
        Ok(0) => {
            println!("vm: everything passed");
            ExitCode::SUCCESS
        }
        Ok(failed) => {
            println!("vm: {failed} failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("vm: {error:?}\n{}", guest::journal());
            ExitCode::FAILURE
        }
    }
}

/// Sets the node up as deploy/ says, checks, and leaves pods running for the reboot.
async fn before() -> Result<usize> {
    guest::check_machine(Trees::Unified, Module::Apparmor)?;
    let mut guest = Guest::install().await?;
    let failed = run(&mut guest, checks::CHECKS).await;
    if failed == 0 {
        checks::reboot::prepare(&guest).await?;
        std::fs::create_dir_all("/var/lib/vm-tests")?;
        std::fs::write(HALFWAY, "").context("remember the first half")?;
    }
    Ok(failed)
}

/// Sets the node up on another kind of machine, and checks.
async fn on(trees: Trees, module: Module, all: &[checks::Check]) -> Result<usize> {
    guest::check_machine(trees, module)?;
    let mut guest = Guest::install().await?;
    Ok(run(&mut guest, all).await)
}

async fn after() -> Result<usize> {
    let mut guest = Guest::started().await?;
    Ok(run(&mut guest, checks::AFTER_REBOOT).await)
}

/// Runs checks one after another; returns how many failed.
#[expect(
    clippy::print_stdout,
    reason = "a program that reports to whoever runs it"
)]
async fn run(guest: &mut Guest, all: &[checks::Check]) -> usize {
    let mut failed = 0;
    for check in all {
        let began = Instant::now();
        let result = (check.run)(guest).await;
        let took = began.elapsed().as_secs_f32();
        match result {
            Ok(()) => println!("vm: ok      {:5.1} s  {}", took, check.name),
            Err(error) => {
                failed += 1;
                println!("vm: FAILED  {:5.1} s  {}: {error:?}", took, check.name);
                println!("{}", guest::journal());
            }
        }
        if let Err(error) = guest.clear().await {
            println!("vm: after {}: {error:?}", check.name);
            failed += 1;
        }
    }
    failed
}
