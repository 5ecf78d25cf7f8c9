//! Why a database or a record could not be opened, read or written.

use std::path::PathBuf;
use std::sync::Arc;

use agent_types::{Classify, ErrorKind};

/// Why the databases could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the lock.
    #[error("{} is in use by another node-agent", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{} could not be opened", path.display())]
    File {
        /// The database or its directory.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The content is not a database of ours, or is damaged.
    #[error("{} is not a usable database", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What the database library said.
        source: Box<redb::DatabaseError>,
    },
}

impl Classify for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Locked { .. } => ErrorKind::FailedPrecondition,
            Self::File { .. } | Self::Database { .. } => ErrorKind::Internal,
        }
    }
}

/// Why a table could not be read.
#[derive(Debug, thiserror::Error)]
#[error("table {table} could not be read")]
pub struct LoadError {
    /// The table.
    pub table: &'static str,
    /// What the database library said.
    pub source: Box<redb::Error>,
}

impl Classify for LoadError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// Why a record could not be saved or removed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SaveError {
    /// The record has no JSON form.
    #[error("record {key} of table {table} could not be encoded")]
    Encode {
        /// The table.
        table: &'static str,
        /// The record's key.
        key: String,
        /// What the encoder said.
        source: Arc<serde_json::Error>,
    },
    /// The database refused; its disk may be full.
    #[error("record {key} of table {table} could not be written")]
    Write {
        /// The table.
        table: &'static str,
        /// The record's key.
        key: String,
        /// What the database library said.
        source: Arc<redb::Error>,
    },
    /// The store is being closed.
    #[error("record {key} of table {table} was not written: the store is closed")]
    Closed {
        /// The table.
        table: &'static str,
        /// The record's key.
        key: String,
    },
}

impl Classify for SaveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Encode { .. } => ErrorKind::Internal,
            Self::Write { source, .. } => match source.as_ref() {
                redb::Error::Io(error) => agent_types::error::kind_of_io(error),
                _ => ErrorKind::Internal,
            },
            Self::Closed { .. } => ErrorKind::Unavailable,
        }
    }
}
