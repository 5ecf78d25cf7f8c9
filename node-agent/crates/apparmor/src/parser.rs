//! The program that compiles profiles and loads them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use agent_program::{Environment, Output, Run, RunError};
use tokio::runtime::Builder;

use crate::error::LoadError;

/// Its name.
const PROGRAM: &str = "apparmor_parser";

/// How long it may take: a machine that has just started is slow.
const LIMIT: Duration = Duration::from_secs(60);

/// It has nothing to answer.
const MAX_ANSWER: usize = 64 << 10;

/// Loads a profile, in place of one of the same name. Blocking, and not for long.
pub(crate) fn load(directories: &[PathBuf], text: &str) -> Result<(), LoadError> {
    let program = agent_program::find(PROGRAM, directories).ok_or(LoadError::NoParser)?;
    let output = wait_for(Run {
        program: &program,
        // What others have compiled is not looked at, and nothing is left for them.
        arguments: &["--replace", "--skip-cache", "--quiet"],
        environment: Environment::Only(Vec::new()),
        input: text.as_bytes().to_vec(),
        limit: LIMIT,
        most: MAX_ANSWER,
    });
    let output = output.map_err(LoadError::Thread)?;
    let output = output.map_err(|source| LoadError::Run { source })?;
    if output.ending.is_success() {
        return Ok(());
    }
    Err(LoadError::Refused {
        program,
        ending: output.ending,
        complaint: output.said,
    })
}

/// Runs a program to its end on a thread of its own, whatever the caller's is doing.
fn wait_for(run: Run<'_>) -> io::Result<Result<Output, RunError>> {
    std::thread::scope(|scope| {
        let work = || {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(agent_program::run(run)))
        };
        let thread = std::thread::Builder::new().spawn_scoped(scope, work)?;
        let lost = |_| Err(io::ErrorKind::Interrupted.into());
        thread.join().unwrap_or_else(lost)
    })
}
