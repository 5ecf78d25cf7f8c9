//! Reading a container's log back: the last lines, since when, and on as it grows.
//!
//! Owns: [`mod@line`], the CRI log format as the shim writes it, and `reader`, which follows a log
//! across rotations. Does not: write logs; the shim does.

mod files;
pub mod line;
mod reader;

use std::path::PathBuf;

use agent_types::{Classify, ErrorKind, Owner};
use tokio::sync::mpsc;

use self::line::{LogLine, Stream};
use crate::container::StopError;
use crate::node::Node;
use crate::time::Timestamp;

/// Entries a reader may be ahead of its client.
const AHEAD: usize = 64;

/// Which part of a log to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// Go on until the container has ended.
    pub follow: bool,
    /// Begin with the last so many lines.
    pub tail: Option<u64>,
    /// Leave out what is older.
    pub since: Option<Timestamp>,
    /// Leave out what is newer.
    pub until: Option<Timestamp>,
    /// Only this stream.
    pub stream: Option<Stream>,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The container was not found.
    #[error(transparent)]
    Find {
        /// Why.
        source: StopError,
    },
    /// It was made without a log.
    #[error("container {id} has no log")]
    NoLog {
        /// The container.
        id: agent_types::ContainerId,
    },
    /// The file could not be read.
    #[error("{} could not be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl Classify for LogsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Find { source } => source.kind(),
            Self::NoLog { .. } => ErrorKind::FailedPrecondition,
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Read { source, .. } => agent_types::error::kind_of_io(source),
        }
    }
}

impl Node {
    /// Streams a container's log. The stream ends at the end of the log, or, when following,
    /// once the container has ended and its last line is out. Dropping it ends the reading.
    ///
    /// # Errors
    /// When there is no such container, or it has no log.
    pub fn logs(
        &self,
        owner: Owner,
        id: &str,
        options: LogOptions,
    ) -> Result<mpsc::Receiver<Result<LogLine, LogsError>>, LogsError> {
        let seen = self
            .container(owner, id)
            .map_err(|source| LogsError::Find { source })?;
        let record = seen.container.record;
        let Some(path) = record.log_path.clone() else {
            return Err(LogsError::NoLog {
                id: record.id.clone(),
            });
        };
        let (lines, receiver) = mpsc::channel(AHEAD);
        let ended = {
            let (node, id) = (self.clone(), record.id.clone());
            // A container that is removed has ended.
            async move { drop(node.wait_container(owner, id.as_str()).await) }
        };
        tokio::spawn(reader::run(path, options, lines, ended));
        Ok(receiver)
    }
}
