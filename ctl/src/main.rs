//! `ctl`: runs containers on this node in the words of docker's command line.
//!
//! Owns: flags, output for people and scripts, the terminal. Does not: decide
//! anything about containers; the agent does, and `ctl` speaks to nothing else.
//! Start reading at `cli.rs`, then `commands/mod.rs`.
#![forbid(unsafe_code)]
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "the comments of flags are their help, in which brackets are what may be left out"
)]

mod cli;
mod client;
mod commands;
mod credentials;
mod error;
mod output;
mod parse;
mod refused;
mod session;
mod template;
mod terminal;
mod view;

use std::process::ExitCode;

use crate::cli::Invocation;
use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;

fn main() -> ExitCode {
    let mut out = Output::stdio();
    let invocation = match Invocation::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(stop) => return stop.report(&mut out).into(),
    };
    execute(invocation, &mut out).into()
}

/// Runs the command and reports its failure, if any.
fn execute(invocation: Invocation, out: &mut Output) -> ExitStatus {
    let codes = invocation.command.exit_codes();
    let result = run(invocation, out);
    match result.and_then(|status| out.flush().map(|()| status).map_err(Into::into)) {
        Ok(status) => status,
        Err(error) => {
            out.error(&error);
            codes.of(&error)
        }
    }
}

fn run(invocation: Invocation, out: &mut Output) -> Result<ExitStatus, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| CommandError::Runtime { source })?;
    let result = runtime.block_on(async {
        let client = Client::new(&invocation.host)?;
        commands::run(invocation.command, &client, out).await
    });
    // A thread may sit in a read of the terminal; it ends with the process.
    runtime.shutdown_background();
    result
}
