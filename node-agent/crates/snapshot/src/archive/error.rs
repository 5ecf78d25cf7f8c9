//! Why an archive is refused.

use std::fmt;

/// The longest name shown in a message, in bytes.
const SHOWN: usize = 200;

/// The name of an archive entry, shown with everything unprintable escaped and cut to 200 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryName(Box<[u8]>);

impl EntryName {
    pub(crate) fn new(name: &[u8]) -> Self {
        Self(name.iter().take(SHOWN + 1).copied().collect())
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN)];
        let dots = if self.0.len() > SHOWN { "…" } else { "" };
        write!(f, "{:?}{dots}", String::from_utf8_lossy(shown))
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with a header block or the order of blocks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveFault {
    /// The stream ended inside a header, an extended header or a file's data.
    #[error("the archive ends in the middle of it")]
    Truncated,
    /// The header's sum is wrong: damage, or not a tar archive at all.
    #[error("its header has a wrong checksum")]
    Checksum,
    /// A numeric field holds no number, a negative one or one out of range.
    #[error("its {field} is not a usable number")]
    Number {
        /// The field's name.
        field: &'static str,
    },
    /// A block of zeros, which ends an archive, with more headers after it.
    #[error("a single zero block stands before it")]
    LoneZeroBlock,
    /// Extended headers with no entry after them, two of a kind, or two that disagree.
    #[error("the extended headers before it are {how}")]
    ExtendedOrder {
        /// In what way.
        how: &'static str,
    },
    /// An extended header over the cap.
    #[error("its extended header has {size} bytes, more than {limit}")]
    ExtendedSize {
        /// Bytes announced.
        size: u64,
        /// The cap.
        limit: u64,
    },
    /// A pax record that breaks the format.
    #[error("its pax record {key:?} is malformed")]
    PaxRecord {
        /// The record's key, as far as it was read.
        key: String,
    },
    /// A kind of entry that says it has data and cannot have any.
    #[error("it is a {kind} with {size} bytes of data")]
    DataWithoutFile {
        /// The kind.
        kind: &'static str,
        /// Bytes announced.
        size: u64,
    },
    /// A type flag that no layer uses.
    #[error("its type flag {flag:#04x} is not known")]
    TypeFlag {
        /// The byte.
        flag: u8,
    },
    /// A sparse map that is malformed, out of order or does not add up.
    #[error("its map of holes is {how}")]
    Sparse {
        /// In what way.
        how: &'static str,
    },
}
