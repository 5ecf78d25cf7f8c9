//! Containers made for real, as root. Every case runs in a process of its own: the runtime's caller has a single thread.
//!
//! `--list` names the cases, a word runs those whose name contains it (`--exact`: the one), `bench` measures.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test; without the harness it is not known as one"
)]

mod basic;
mod bench;
mod exec;
mod fixture;
mod hostile;
mod mounts;
mod namespaces;
mod roots;
mod session;
mod spec;
mod users;

use std::process::{Command, ExitCode};

type Case = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let words: Vec<&String> = arguments
        .iter()
        .filter(|word| !word.starts_with("--"))
        .collect();
    let cases = all();
    if has("--list") {
        if !has("--ignored") {
            cases.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    if words.first().is_some_and(|word| *word == "bench") {
        bench::run();
        return ExitCode::SUCCESS;
    }
    let chosen = |name: &str| {
        words.is_empty()
            || words.iter().any(|word| {
                if has("--exact") {
                    name == *word
                } else {
                    name.contains(*word)
                }
            })
    };
    if has("--inside") {
        cases
            .iter()
            .filter(|(name, _)| chosen(name))
            .for_each(|(_, case)| case());
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    for (name, _) in cases.iter().filter(|(name, _)| chosen(name)) {
        let program = std::env::current_exe().unwrap();
        let status = Command::new(program)
            .args(["--inside", "--exact", name])
            .status()
            .unwrap();
        println!(
            "{name} ... {}",
            if status.success() { "ok" } else { "FAILED" }
        );
        if !status.success() {
            failed.push(*name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {failed:?}");
    ExitCode::FAILURE
}

fn all() -> Vec<Case> {
    let groups = [
        basic::CASES,
        exec::CASES,
        hostile::CASES,
        mounts::CASES,
        namespaces::CASES,
        roots::CASES,
        users::CASES,
    ];
    groups.concat()
}
