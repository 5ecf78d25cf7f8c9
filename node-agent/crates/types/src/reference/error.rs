//! Why a string is not an image reference.

use super::MAX_REPOSITORY_LENGTH;
use crate::DigestError;
use crate::error::{Classify, ErrorKind};

/// Why a string is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("image reference is empty")]
    Empty,
    /// Longer than any legal reference.
    #[error("image reference has {length} bytes, more than a reference can have")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The repository path has an upper-case letter.
    #[error("invalid image reference {value:?}: repository name must be lower case")]
    Uppercase {
        /// The refused text.
        value: String,
    },
    /// The registry host is neither a name nor an address.
    #[error("invalid image reference {value:?}: registry host is not valid")]
    Registry {
        /// The refused text.
        value: String,
    },
    /// The repository path breaks the grammar.
    #[error(
        "invalid image reference {value:?}: repository name must be lower-case letters, digits and single separators"
    )]
    Repository {
        /// The refused text.
        value: String,
    },
    /// The repository path is longer than [`MAX_REPOSITORY_LENGTH`].
    #[error(
        "repository name of the image reference has {length} bytes, more than {MAX_REPOSITORY_LENGTH}"
    )]
    RepositoryTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// 64 hex digits, which could not be told from an image id.
    #[error("invalid image reference {value:?}: a repository name cannot be 64 hexadecimal digits")]
    LooksLikeId {
        /// The refused text.
        value: String,
    },
    /// The tag breaks the grammar.
    #[error("invalid image reference {value:?}: tag is not valid")]
    Tag {
        /// The refused text.
        value: String,
    },
    /// What follows `@` is no digest.
    #[error("invalid image reference {value:?}")]
    Digest {
        /// The refused text.
        value: String,
        /// What is wrong with the digest.
        source: DigestError,
    },
}

impl Classify for ReferenceError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}
