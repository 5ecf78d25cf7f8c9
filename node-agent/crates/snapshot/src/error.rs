//! Why an operation on snapshots failed, an enum an operation.

use std::io;
use std::path::PathBuf;

use agent_types::error::kind_of_io;
use agent_types::{Classify, Digest, ErrorKind, SnapshotKey};

use crate::apply::{ApplyError, Refusal};
use crate::archive::{ArchiveError, ArchiveFault, EntryName};
use crate::chain::ChainId;
use crate::limits::Limit;
use crate::stream::{Compression, InflateError, PipeError};

/// Why the snapshot directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory could not be made or opened.
    #[error("snapshot directory {path} could not be opened")]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A directory could not be brought in order.
    #[error("snapshot directory {path} could not be cleaned up")]
    CleanUp {
        /// Which one.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why a layer blob could not be unpacked. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// No place to unpack to.
    #[error("staging directory {path} could not be made")]
    Staging {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// No thread to unpack with.
    #[error("a thread for unpacking a layer could not be started")]
    Thread {
        /// What the kernel said.
        source: io::Error,
    },
    /// The caller's reader failed.
    #[error("layer could not be read")]
    Read {
        /// What the reader said.
        source: io::Error,
    },
    /// The blob is not what the media type promises.
    #[error("layer is {found}, but its media type says {expected}")]
    Mismatch {
        /// By media type.
        expected: Compression,
        /// By its first bytes.
        found: Compression,
    },
    /// The decoder gave up.
    #[error("{compression} layer is damaged or cut off")]
    Damaged {
        /// The decoder.
        compression: Compression,
        /// What it said.
        source: io::Error,
    },
    /// The layer is over a cap.
    #[error("layer is too large")]
    Limit {
        /// Which cap.
        source: Limit,
    },
    /// The tar stream is malformed or ambiguous.
    #[error("layer is refused at entry {entry}")]
    Archive {
        /// The entry's name, as far as it was read.
        entry: EntryName,
        /// What is wrong.
        source: ArchiveFault,
    },
    /// An entry asks for what no layer may.
    #[error("layer is refused at entry {entry}")]
    Refused {
        /// The entry's name.
        entry: EntryName,
        /// What is wrong.
        source: Refusal,
    },
    /// The file system said no.
    #[error("layer entry {entry} could not be {action}")]
    Apply {
        /// The entry's name.
        entry: EntryName,
        /// What was attempted.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl From<PipeError<ApplyError>> for UnpackError {
    fn from(error: PipeError<ApplyError>) -> Self {
        match error {
            PipeError::Thread(source) => Self::Thread { source },
            PipeError::Limit(source) => Self::Limit { source },
            PipeError::Inflate(InflateError::Read(source)) => Self::Read { source },
            PipeError::Inflate(InflateError::Mismatch { expected, found }) => {
                Self::Mismatch { expected, found }
            }
            PipeError::Inflate(InflateError::Damaged(compression, source)) => Self::Damaged {
                compression,
                source,
            },
            PipeError::Consumer(error) => error.into(),
        }
    }
}

impl From<ApplyError> for UnpackError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Archive(ArchiveError::Source(source)) => Self::Read { source },
            ApplyError::Archive(ArchiveError::Refused(entry, source)) => {
                Self::Archive { entry, source }
            }
            ApplyError::Refused(entry, source) => Self::Refused { entry, source },
            ApplyError::Failed {
                entry,
                action,
                source,
            } => Self::Apply {
                entry,
                action,
                source,
            },
            ApplyError::Limit(source) => Self::Limit { source },
        }
    }
}

impl Classify for UnpackError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Staging { source, .. } | Self::Apply { source, .. } => kind_of_io(source),
            Self::Thread { .. } | Self::Limit { .. } => ErrorKind::ResourceExhausted,
            Self::Read { source } => match kind_of_io(source) {
                ErrorKind::Internal => ErrorKind::Unavailable,
                kind => kind,
            },
            Self::Mismatch { .. }
            | Self::Damaged { .. }
            | Self::Archive { .. }
            | Self::Refused { .. } => ErrorKind::InvalidArgument,
        }
    }
}

/// Why an unpacked layer could not take its place. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The chain id does not follow from what was unpacked.
    #[error("layer {diff_id} does not belong at chain {chain}")]
    Chain {
        /// The chain id given.
        chain: ChainId,
        /// The digest of what was unpacked.
        diff_id: Digest,
    },
    /// The layer below is not there.
    #[error("layer {chain} cannot be committed")]
    Parent {
        /// The layer.
        chain: ChainId,
        /// Which one is missing.
        source: LookupError,
    },
    /// A hard link to a file that no layer below has.
    #[error("hard link {path} in layer {chain} has no usable target {target} in the layers below")]
    LinkTarget {
        /// The layer.
        chain: ChainId,
        /// The link.
        path: EntryName,
        /// What it should lead to.
        target: EntryName,
    },
    /// What the layers below have could not be copied.
    #[error("{path} in layer {chain} could not be completed from the layers below")]
    Complete {
        /// The layer.
        chain: ChainId,
        /// The path in it.
        path: EntryName,
        /// What the kernel said.
        source: io::Error,
    },
    /// The layer could not be moved to its place, or its record not be written.
    #[error("layer {chain} could not be put in its place")]
    Place {
        /// The layer.
        chain: ChainId,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Classify for CommitError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Chain { .. } | Self::LinkTarget { .. } => ErrorKind::InvalidArgument,
            Self::Parent { .. } => ErrorKind::FailedPrecondition,
            Self::Complete { source, .. } | Self::Place { source, .. } => kind_of_io(source),
        }
    }
}

/// What was looked for and is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// A layer.
    #[error("layer {chain} is not unpacked on this node")]
    Layer {
        /// Its chain id.
        chain: ChainId,
    },
    /// A writable layer.
    #[error("snapshot {key} does not exist")]
    Snapshot {
        /// Its key.
        key: SnapshotKey,
    },
}

impl Classify for LookupError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NotFound
    }
}

/// Why a writable layer could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A layer to stand on is missing.
    #[error("snapshot {key} cannot be prepared")]
    Layer {
        /// The snapshot.
        key: SnapshotKey,
        /// What is missing.
        source: LookupError,
    },
    /// The key is taken by a snapshot of another image.
    #[error("snapshot {key} already stands on another image")]
    Conflict {
        /// The snapshot.
        key: SnapshotKey,
    },
    /// The file system said no.
    #[error("directories of snapshot {key} could not be made")]
    Directory {
        /// The snapshot.
        key: SnapshotKey,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Classify for PrepareError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Layer { .. } => ErrorKind::FailedPrecondition,
            Self::Conflict { .. } => ErrorKind::AlreadyExists,
            Self::Directory { source, .. } => kind_of_io(source),
        }
    }
}

/// Why something could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Another layer stands on this one.
    #[error("layer {chain} is used by layer {child}")]
    HasChild {
        /// The layer.
        chain: ChainId,
        /// The one above it.
        child: ChainId,
    },
    /// A writable layer stands on this one.
    #[error("layer {chain} is used by snapshot {key}")]
    HasSnapshot {
        /// The layer.
        chain: ChainId,
        /// The snapshot.
        key: SnapshotKey,
    },
    /// The layer's directory could not be moved out of the way.
    #[error("layer {chain} could not be moved to the trash")]
    Layer {
        /// The layer.
        chain: ChainId,
        /// What the kernel said.
        source: io::Error,
    },
    /// The snapshot's directory could not be moved out of the way.
    #[error("snapshot {key} could not be moved to the trash")]
    Snapshot {
        /// The snapshot.
        key: SnapshotKey,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Classify for RemoveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::HasChild { .. } | Self::HasSnapshot { .. } => ErrorKind::FailedPrecondition,
            Self::Layer { source, .. } | Self::Snapshot { source, .. } => kind_of_io(source),
        }
    }
}

/// Why space could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// Nothing to count.
    #[error("usage cannot be counted")]
    NotFound {
        /// What is missing.
        source: LookupError,
    },
    /// The walk failed.
    #[error("usage of snapshot {key} could not be counted")]
    Walk {
        /// The snapshot.
        key: SnapshotKey,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Classify for UsageError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Walk { source, .. } => kind_of_io(source),
        }
    }
}

/// Why layers could not be made durable; they are unpacked again after a power cut.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// syncfs(2) failed.
    #[error("file system of the snapshots could not be synced")]
    Sync {
        /// What the kernel said.
        source: io::Error,
    },
    /// A record could not be written.
    #[error("layer {chain} could not be recorded as clean")]
    Record {
        /// The layer.
        chain: ChainId,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why the trash could not be emptied; the rest was.
#[derive(Debug, thiserror::Error)]
#[error("trash of the snapshots could not be emptied")]
pub struct SweepError {
    /// The first failure.
    pub source: io::Error,
}

macro_rules! classify_io {
    ($($name:ident: $pattern:pat => $source:ident),* $(,)?) => {$(
        impl Classify for $name {
            fn kind(&self) -> ErrorKind {
                let $pattern = self;
                kind_of_io($source)
            }
        }
    )*};
}

classify_io! {
    OpenError: (OpenError::Directory { source, .. } | OpenError::CleanUp { source, .. }) => source,
    SyncError: (SyncError::Sync { source } | SyncError::Record { source, .. }) => source,
    SweepError: SweepError { source } => source,
}
