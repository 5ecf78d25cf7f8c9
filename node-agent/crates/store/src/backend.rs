//! The file under a database: locked for one process, and synced only where asked.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use redb::StorageBackend;
use rustix::fs::FlockOperation;

use crate::{Durability, OpenError};

/// A database file whose `sync_data` may do nothing.
#[derive(Debug)]
pub(crate) struct PageCacheFile {
    file: File,
    durability: Durability,
}

impl PageCacheFile {
    pub(crate) fn open(path: &Path, durability: Durability) -> Result<Self, OpenError> {
        let failed = |source| OpenError::File {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file, durability }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked {
                path: path.to_owned(),
            }),
            Err(errno) => Err(failed(errno.into())),
        }
    }
}

impl StorageBackend for PageCacheFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.durability {
            Durability::Synced => self.file.sync_data(),
            Durability::Unsynced => Ok(()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}
