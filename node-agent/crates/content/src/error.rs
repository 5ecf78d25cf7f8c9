//! Why an operation on the content store failed.

use std::io;
use std::path::{Path, PathBuf};

use agent_types::error::kind_of_io;
use agent_types::{Classify, Digest, ErrorKind};

/// A step on one file or directory of the store that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("could not {step} {}", path.display())]
pub struct FileError {
    /// What was attempted, as a verb.
    step: &'static str,
    /// On what.
    path: PathBuf,
    /// What the kernel said.
    source: io::Error,
}

impl FileError {
    /// Returns a closure for `map_err` that names the step and the path.
    pub(crate) fn on(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { step, path, source }
    }
}

impl Classify for FileError {
    fn kind(&self) -> ErrorKind {
        kind_of_io(&self.source)
    }
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The boot id is not one path component.
    #[error("boot id {value:?} is not a boot id")]
    BootId {
        /// The refused text.
        value: String,
    },
    /// A directory could not be made or read.
    #[error("content store could not be opened")]
    File(#[from] FileError),
}

impl Classify for OpenStoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::BootId { .. } => ErrorKind::InvalidArgument,
            Self::File(error) => error.kind(),
        }
    }
}

/// Why a stored blob could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Not stored, or dropped because a crash had damaged it.
    #[error("blob {digest} is not stored")]
    NotFound {
        /// The blob.
        digest: Digest,
    },
    /// Larger than the caller accepts.
    #[error("blob {digest} has {size} bytes, more than {cap}")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The caller's limit.
        cap: u64,
    },
    /// The bytes on disk are no longer what the name says.
    #[error("stored blob {digest} is damaged")]
    Damaged {
        /// The blob.
        digest: Digest,
    },
    /// A file of the store could not be used.
    #[error("blob {digest} could not be used")]
    File {
        /// The blob.
        digest: Digest,
        /// The step that failed.
        source: FileError,
    },
}

impl Classify for BlobError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::TooLarge { .. } => ErrorKind::ResourceExhausted,
            Self::Damaged { .. } => ErrorKind::Internal,
            Self::File { source, .. } => source.kind(),
        }
    }
}

/// Why a blob could not be received.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Another ingest of the same blob is open.
    #[error("blob {digest} is being received already")]
    Busy {
        /// The blob.
        digest: Digest,
    },
    /// The blob is stored; there is nothing to receive.
    #[error("blob {digest} is stored already")]
    AlreadyExists {
        /// The blob.
        digest: Digest,
    },
    /// More bytes arrived than were announced or allowed.
    #[error("blob {digest} is larger than the {limit} bytes it may have")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// The announced size or the cap.
        limit: u64,
    },
    /// A file of the store could not be used.
    #[error("blob {digest} could not be received")]
    File {
        /// The blob.
        digest: Digest,
        /// The step that failed.
        source: FileError,
    },
}

impl Classify for IngestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy { .. } => ErrorKind::Unavailable,
            Self::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            Self::TooLarge { .. } => ErrorKind::ResourceExhausted,
            Self::File { source, .. } => source.kind(),
        }
    }
}

/// Why a received blob was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Bytes are missing; what is there stays for a resume.
    #[error("blob {digest} ends after {received} of {expected} bytes")]
    Incomplete {
        /// The blob.
        digest: Digest,
        /// Bytes on disk.
        received: u64,
        /// Bytes announced.
        expected: u64,
    },
    /// The bytes do not hash to the name; they have been discarded.
    #[error("blob {digest} is corrupt: its bytes hash to {actual}")]
    Corrupt {
        /// The blob.
        digest: Digest,
        /// What the bytes hash to.
        actual: Digest,
        /// Bytes taken over from an earlier ingest: if not 0, fetching once more from zero may help.
        resumed: u64,
    },
    /// A file of the store could not be used.
    #[error("blob {digest} could not be committed")]
    File {
        /// The blob.
        digest: Digest,
        /// The step that failed.
        source: FileError,
    },
}

impl Classify for CommitError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Incomplete { .. } => ErrorKind::Unavailable,
            Self::Corrupt { .. } => ErrorKind::FailedPrecondition,
            Self::File { source, .. } => source.kind(),
        }
    }
}

/// Why the store's durability could not be advanced.
#[derive(Debug, thiserror::Error)]
#[error("content store could not be synced")]
pub struct SyncError(#[from] pub FileError);

impl Classify for SyncError {
    fn kind(&self) -> ErrorKind {
        self.0.kind()
    }
}
