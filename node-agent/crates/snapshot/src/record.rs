//! What is on disk about a layer beside its files.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use agent_types::Digest;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::chain::ChainId;

/// The version written; others are not read.
const VERSION: u32 = 1;

/// A record longer than this is none of ours.
const MAX_LENGTH: u64 = 64 * 1024;

/// What is known about a committed layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    version: u32,
    /// Names the layer's directory, `l/<number>`.
    pub number: u64,
    /// Names the layer with all below it.
    pub chain: ChainId,
    /// The layer it stands on.
    pub parent: Option<ChainId>,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Bytes of the uncompressed archive.
    pub size: u64,
    /// Files, directories and other nodes.
    pub inodes: u64,
    /// Whether nothing below shows through its root. The overlay has no mark for that on a root.
    pub opaque: bool,
    /// The boot in which it was committed.
    pub boot_id: String,
    /// Whether a sync has passed since.
    pub clean: bool,
}

/// What a commit knows about its layer.
#[derive(Debug)]
pub(crate) struct LayerFacts {
    pub number: u64,
    pub chain: ChainId,
    pub parent: Option<ChainId>,
    pub diff_id: Digest,
    pub size: u64,
    pub inodes: u64,
    pub opaque: bool,
}

impl LayerRecord {
    /// Returns the record of a layer committed just now.
    pub(crate) fn new(facts: LayerFacts, boot_id: &str) -> Self {
        Self {
            version: VERSION,
            number: facts.number,
            chain: facts.chain,
            parent: facts.parent,
            diff_id: facts.diff_id,
            size: facts.size,
            inodes: facts.inodes,
            opaque: facts.opaque,
            boot_id: boot_id.to_owned(),
            clean: false,
        }
    }

    /// Returns the layer's directory, relative to the snapshots'.
    pub(crate) fn lower(&self) -> String {
        format!("l/{}", self.number)
    }

    /// Writes the record to `dir`: whole or not at all. Not synced: a record that a power cut
    /// spoils is of a layer that is not clean.
    pub(crate) fn save(&self, dir: BorrowedFd<'_>) -> io::Result<()> {
        let (name, new) = (self.number.to_string(), format!("{}.new", self.number));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, &new, flags, Mode::RUSR | Mode::WUSR)?;
        let text = serde_json::to_vec(self)?;
        std::fs::File::from(file).write_all(&text)?;
        Ok(rustix::fs::renameat(dir, &new, dir, &name)?)
    }

    /// Reads the record `name`; `None` if it is none, or of a version unknown.
    pub(crate) fn load(dir: BorrowedFd<'_>, name: &str) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        let mut text = Vec::new();
        std::fs::File::from(file)
            .take(MAX_LENGTH)
            .read_to_end(&mut text)?;
        let record: Option<Self> = serde_json::from_slice(&text).ok();
        Ok(record.filter(|r| r.version == VERSION && r.number.to_string() == name))
    }

    /// Removes the record; a missing one is no error.
    pub(crate) fn remove(&self, dir: BorrowedFd<'_>) -> io::Result<()> {
        remove_record(dir, &self.number.to_string())
    }
}

/// Removes the record called `name`; a missing one is no error.
pub(crate) fn remove_record(dir: impl AsFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 1 wrote it. Never change this text; add another for the next version.
    const VERSION_1: &str = r#"{"version":1,"number":7,"chain":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","parent":null,"diff_id":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size":1024,"inodes":1,"opaque":false,"boot_id":"b","clean":false}"#;

    fn record() -> LayerRecord {
        let diff_id = Digest::sha256(&[0xaa; 32]);
        let facts = LayerFacts {
            number: 7,
            chain: ChainId::new(None, &diff_id),
            parent: None,
            diff_id,
            size: 1024,
            inodes: 1,
            opaque: false,
        };
        LayerRecord::new(facts, "b")
    }

    #[test]
    fn version_1_is_read_for_ever() {
        assert_eq!(
            serde_json::from_str::<LayerRecord>(VERSION_1).unwrap(),
            record()
        );
    }

    #[test]
    fn a_record_is_found_whole_or_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let dir = std::fs::File::open(temp.path()).unwrap();
        record().save(dir.as_fd()).unwrap();
        assert_eq!(LayerRecord::load(dir.as_fd(), "7").unwrap(), Some(record()));
        std::fs::write(temp.path().join("7"), &VERSION_1[..100]).unwrap();
        assert_eq!(LayerRecord::load(dir.as_fd(), "7").unwrap(), None);
        std::fs::write(temp.path().join("8"), VERSION_1).unwrap();
        assert_eq!(
            LayerRecord::load(dir.as_fd(), "8").unwrap(),
            None,
            "of another layer"
        );
        record().remove(dir.as_fd()).unwrap();
        record().remove(dir.as_fd()).unwrap();
        assert!(LayerRecord::load(dir.as_fd(), "7").is_err());
    }
}
