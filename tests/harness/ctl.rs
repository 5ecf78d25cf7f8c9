//! Running `ctl` against an agent, and saying what it is to print and how it is to end.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Result, ensure};

use crate::agent::{Agent, beside_us};
use crate::command;

/// `ctl`, pointed at one agent.
#[derive(Clone, Debug)]
pub struct Ctl {
    program: PathBuf,
    host: String,
}

/// How a run of `ctl` ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it printed to stdout.
    pub stdout: String,
    /// What it printed to stderr.
    pub stderr: String,
}

impl Ctl {
    /// Returns the `ctl` built with this test, pointed at the agent.
    pub fn of(agent: &Agent) -> Result<Self> {
        Ok(Self {
            program: beside_us("ctl")?,
            host: format!("unix://{}", agent.socket().display()),
        })
    }

    /// Returns the command with these words, not yet run.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("NODE_AGENT_HOST", &self.host)
            .env("NO_COLOR", "1")
            .args(words);
        command
    }

    /// Runs it to its end, whatever that is.
    pub fn run(&self, words: &[&str]) -> Result<Ended> {
        Ok(command::output(&mut self.command(words))?.into())
    }

    /// Runs it with this input to its end, whatever that is.
    pub fn run_with_input(&self, words: &[&str], input: &[u8]) -> Result<Ended> {
        Ok(command::run_with_input(&mut self.command(words), input)?.into())
    }

    /// Runs it and returns its stdout without the last newline; any other end than 0 is an error.
    pub fn ok(&self, words: &[&str]) -> Result<String> {
        let ended = self.run(words)?;
        ensure!(
            ended.code == 0,
            "ctl {words:?} ended with {}:\n{}{}",
            ended.code,
            ended.stdout,
            ended.stderr
        );
        Ok(ended.stdout.trim_end_matches('\n').to_owned())
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
