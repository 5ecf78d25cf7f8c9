//! One plugin: finding its program, running it once, reading what it answers.

mod answer;
mod error;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use agent_program::{Environment, Run};
use serde_json::Value;
use tracing::Instrument as _;

pub use agent_program::Ending;
pub(crate) use answer::supported_versions;
pub use error::PluginError;

use crate::request::Request;

/// Longest answer that is taken, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// What a plugin is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Join a sandbox.
    Add,
    /// Release a sandbox.
    Del,
    /// Say whether a sandbox is joined as it was.
    Check,
    /// Say whether sandboxes can be joined.
    Status,
    /// Forget sandboxes that are not named.
    Gc,
    /// Say which versions are spoken.
    Version,
}

impl Command {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Status => "STATUS",
            Self::Gc => "GC",
            Self::Version => "VERSION",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where programs are, and how long they may run.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) limit: Duration,
}

impl Runner {
    /// Returns the program of a plugin: the first executable file of that name.
    pub(crate) fn find(&self, plugin: &str) -> Result<PathBuf, PluginError> {
        agent_program::find(plugin, &self.directories).ok_or_else(|| PluginError::NotFound {
            plugin: plugin.to_owned(),
            directories: std::env::join_paths(&self.directories)
                .unwrap_or_default()
                .into(),
        })
    }

    /// Runs a plugin once and returns its answer; `Null` where it has none.
    pub(crate) async fn run(&self, plugin: &str, request: &Request) -> Result<Value, PluginError> {
        let command = request.command;
        let span = tracing::debug_span!("plugin", otel.name = %format_args!("{command} {plugin}"));
        self.run_here(plugin, request).instrument(span).await
    }

    async fn run_here(&self, plugin: &str, request: &Request) -> Result<Value, PluginError> {
        let program = self.find(plugin)?;
        let began = std::time::Instant::now();
        let run = Run {
            program: &program,
            arguments: &[],
            environment: Environment::Only(request.environment(&self.directories)),
            input: request.input.to_string().into_bytes(),
            limit: self.limit,
            most: MAX_ANSWER,
        };
        let output = agent_program::run(run).await;
        let output = output.map_err(|error| PluginError::of_run(plugin, request.command, error))?;
        tracing::debug!(
            path = %program.display(),
            command = request.command.as_str(),
            elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "network plugin ended"
        );
        answer::read(plugin, request.command, output)
    }
}
