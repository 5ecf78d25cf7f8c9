//! Why a plugin did not do what it was asked.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use agent_program::RunError;
use agent_types::{Classify, ErrorKind};

use super::{Command, Ending};

/// Codes of the specification that say something to a caller.
mod code {
    pub(super) const TRY_AGAIN: u64 = 11;
    pub(super) const NOT_AVAILABLE: u64 = 50;
    pub(super) const LIMITED: u64 = 51;
}

/// Why a plugin did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// There is no such program.
    #[error("CNI plugin {plugin} is not installed in {}", directories.display())]
    NotFound {
        /// The plugin.
        plugin: String,
        /// Where it was looked for, as `CNI_PATH` has it.
        directories: PathBuf,
    },
    /// The program could not be started.
    #[error("CNI plugin {} could not be started", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The plugin said no.
    #[error("CNI plugin {plugin} refused {command} (code {code}): {message}")]
    Refused {
        /// The plugin.
        plugin: String,
        /// What it was asked.
        command: Command,
        /// What kind of failure it says it is.
        code: u64,
        /// What it says, with its details.
        message: String,
    },
    /// The plugin ended without saying why.
    #[error("CNI plugin {plugin} {ending} during {command}{}", quoted(said))]
    Died {
        /// The plugin.
        plugin: String,
        /// What it was asked.
        command: Command,
        /// How it ended.
        ending: Ending,
        /// The end of what it wrote to standard error.
        said: String,
    },
    /// The plugin did not end in time; it was killed.
    #[error(
        "CNI plugin {plugin} did not end within {} s of {command} and was killed{}",
        limit.as_secs_f32(),
        quoted(said)
    )]
    TimedOut {
        /// The plugin.
        plugin: String,
        /// What it was asked.
        command: Command,
        /// How long it had.
        limit: Duration,
        /// The end of what it wrote to standard error.
        said: String,
    },
    /// The plugin writes without end; it was killed.
    #[error("CNI plugin {plugin} answered {command} with more than {limit} bytes and was killed")]
    TooMuch {
        /// The plugin.
        plugin: String,
        /// What it was asked.
        command: Command,
        /// Most bytes that are taken.
        limit: usize,
    },
    /// The plugin succeeded, and answered what is not an answer.
    #[error("CNI plugin {plugin} answered {command} with what cannot be read")]
    Answer {
        /// The plugin.
        plugin: String,
        /// What it was asked.
        command: Command,
        /// Why not.
        source: serde_json::Error,
    },
    /// The plugin's process could not be followed; it was killed.
    #[error("CNI plugin {plugin} could not be followed during {command}")]
    Follow {
        /// The plugin.
        plugin: String,
        /// What it was asked.
        command: Command,
        /// Why.
        source: io::Error,
    },
}

impl PluginError {
    /// Returns why a plugin's program did not come to its own end.
    pub(super) fn of_run(plugin: &str, command: Command, error: RunError) -> Self {
        let plugin = plugin.to_owned();
        match error {
            RunError::Start { path, source } => Self::Start { path, source },
            RunError::Follow { source, .. } => Self::Follow {
                plugin,
                command,
                source,
            },
            RunError::TimedOut { limit, said, .. } => Self::TimedOut {
                plugin,
                command,
                limit,
                said,
            },
            RunError::TooMuch { limit, .. } => Self::TooMuch {
                plugin,
                command,
                limit,
            },
        }
    }
}

fn quoted(said: &str) -> String {
    if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    }
}

impl Classify for PluginError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::Unavailable,
            Self::Refused { code, .. } => match *code {
                code::TRY_AGAIN | code::NOT_AVAILABLE | code::LIMITED => ErrorKind::Unavailable,
                _ => ErrorKind::Internal,
            },
            Self::TimedOut { .. } => ErrorKind::DeadlineExceeded,
            Self::Start { .. }
            | Self::Died { .. }
            | Self::TooMuch { .. }
            | Self::Answer { .. }
            | Self::Follow { .. } => ErrorKind::Internal,
        }
    }
}
