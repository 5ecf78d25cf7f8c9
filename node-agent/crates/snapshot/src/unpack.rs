//! Unpacking a layer blob into a directory that nobody else sees.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use agent_sys::rootdir::RootDir;
use agent_types::Digest;
use rustix::fs::{Mode, OFlags};

use crate::apply::{self, Applied};
use crate::error::UnpackError;
use crate::limits::Limits;
use crate::snapshots::{Inner, Snapshots};
use crate::stream::{self, Compression, Summary};

/// A layer unpacked and not committed. Dropping it deletes what was unpacked.
#[derive(Debug)]
pub struct Unpacked {
    pub(crate) staged: Staged,
    pub(crate) applied: Applied,
    summary: Summary,
}

impl Unpacked {
    /// Returns the digest of the uncompressed archive, to be compared with the image's config.
    #[must_use]
    pub fn diff_id(&self) -> &Digest {
        &self.summary.digest
    }

    /// Returns the bytes of the uncompressed archive.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.summary.size
    }

    /// Returns the number of files, directories and other nodes.
    #[must_use]
    pub fn inodes(&self) -> u64 {
        self.applied.inodes
    }

    /// Returns how the blob was compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.summary.compression
    }
}

/// A directory below `staging`, deleted when dropped unless it was moved away.
#[derive(Debug)]
pub(crate) struct Staged {
    inner: Arc<Inner>,
    pub number: u64,
    moved: bool,
}

impl Staged {
    pub(crate) fn new(inner: &Arc<Inner>) -> Result<Self, UnpackError> {
        let staged = Self {
            inner: Arc::clone(inner),
            number: inner.number(),
            moved: false,
        };
        rustix::fs::mkdirat(&inner.staging, staged.name(), Mode::RWXU)
            .map_err(|errno| staged.failed(errno.into()))?;
        Ok(staged)
    }

    fn name(&self) -> String {
        format!("{}-{}", self.number, self.inner.salt)
    }

    fn failed(&self, source: std::io::Error) -> UnpackError {
        let path = self.inner.base.join("staging").join(self.name());
        UnpackError::Staging { path, source }
    }

    /// Opens the directory.
    pub(crate) fn root(&self) -> std::io::Result<RootDir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = self.name();
        let dir = rustix::fs::openat(&self.inner.staging, name, flags, Mode::empty())?;
        Ok(RootDir::from_fd(dir))
    }

    /// Moves the directory to its place among the layers, under the same number.
    pub(crate) fn place(&mut self) -> std::io::Result<()> {
        let inner = Arc::clone(&self.inner);
        self.place_in(inner.layers.as_fd(), &self.number.to_string())
    }

    /// Moves the directory into `parent`.
    pub(crate) fn place_in(&mut self, parent: BorrowedFd<'_>, name: &str) -> std::io::Result<()> {
        rustix::fs::renameat(&self.inner.staging, self.name(), parent, name)?;
        self.moved = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.moved {
            return;
        }
        let trash = &self.inner.trash;
        let taken = trash.take(self.inner.staging.as_fd(), self.name().as_bytes());
        if let Err(error) = taken.and_then(|name| trash.delete(&name)) {
            // The next start sweeps it.
            tracing::warn!(error = %error, "unpacked layer was not deleted");
        }
    }
}

impl Snapshots {
    /// Unpacks a layer blob: inflates, digests and applies it side by side, in bounded memory.
    /// Several may run at once. `expected` is what the media type says; without it the first bytes
    /// decide. Reads to the end of the stream; `reader` stays on this thread.
    ///
    /// # Errors
    /// The reader failed, or the blob is damaged, hostile or over a cap; nothing is left then.
    pub fn unpack(
        &self,
        reader: impl Read,
        expected: Option<Compression>,
        limits: &Limits,
    ) -> Result<Unpacked, UnpackError> {
        let staged = Staged::new(&self.inner)?;
        let root = staged.root().map_err(|error| staged.failed(error))?;
        let (trash, umask) = (&self.inner.trash, self.inner.umask);
        let (applied, summary) = stream::run(reader, expected, limits, |source| {
            apply::apply(source, root, trash, limits, umask)
        })?;
        Ok(Unpacked {
            staged,
            applied,
            summary,
        })
    }
}
