//! Why an entry is not applied.

use std::io;

use crate::archive::{ArchiveError, EntryName};
use crate::limits::Limit;

/// What makes an entry unacceptable, whatever the state of this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A NUL in a name or target.
    #[error("its name or target has a NUL in it")]
    Nul,
    /// A path or component that the kernel cannot name.
    #[error("its name has {length} bytes, more than {limit}")]
    TooLong {
        /// Bytes in the path or in the component.
        length: usize,
        /// The kernel's limit.
        limit: usize,
    },
    /// A whiteout of nothing, `.` or `..`.
    #[error("it is a whiteout that names no file")]
    WhiteoutName,
    /// A directory whose name is a whiteout's.
    #[error("it lies below the name of a whiteout")]
    BelowWhiteout,
    /// The root directory is given as something else.
    #[error("the layer's root can only be a directory")]
    Root,
    /// A component on the way there is no directory.
    #[error("{parent}, on the way to it, is not a directory")]
    Parent {
        /// The component's path.
        parent: EntryName,
    },
    /// The way there goes round in circles.
    #[error("the way to it has too many symbolic links")]
    Loop,
    /// A symlink to nothing.
    #[error("it is a symbolic link without a target")]
    NoTarget,
    /// A hard link that cannot be made.
    #[error("it is a hard link to {target}, which is {what}")]
    LinkTarget {
        /// The link's target as written.
        target: EntryName,
        /// What the target is.
        what: &'static str,
    },
    /// An attribute that would steer the overlay file system.
    #[error("its attribute {name} belongs to the overlay file system")]
    Attribute {
        /// The attribute's name.
        name: EntryName,
    },
}

/// Why applying a layer stopped.
#[derive(Debug)]
pub(crate) enum ApplyError {
    Archive(ArchiveError),
    Refused(EntryName, Refusal),
    Failed {
        entry: EntryName,
        action: &'static str,
        source: io::Error,
    },
    Limit(Limit),
}

impl From<ArchiveError> for ApplyError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<Limit> for ApplyError {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}

/// Failures inside one entry, before its name is added.
#[derive(Debug)]
pub(super) enum Failure {
    Refused(Refusal),
    Io(&'static str, io::Error),
    Archive(ArchiveError),
    Limit(Limit),
}

impl Failure {
    pub(super) fn of(self, name: &[u8]) -> ApplyError {
        let entry = EntryName::new(name);
        match self {
            Self::Refused(refusal) => ApplyError::Refused(entry, refusal),
            Self::Io(action, source) => ApplyError::Failed {
                entry,
                action,
                source,
            },
            Self::Archive(error) => ApplyError::Archive(error),
            Self::Limit(limit) => ApplyError::Limit(limit),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<Limit> for Failure {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}

/// Only walks convert bare errors; their action is always this one.
impl From<io::Error> for Failure {
    fn from(source: io::Error) -> Self {
        Self::Io("reached", source)
    }
}

/// Names what was being done when the kernel said no.
pub(super) trait During<T> {
    fn during(self, action: &'static str) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, action: &'static str) -> Result<T, Failure> {
        self.map_err(|error| Failure::Io(action, error.into()))
    }
}
