//! An ingest: one blob being received, resumable at any byte.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::sync::Arc;

use agent_types::Digest;

use crate::error::{CommitError, FileError, IngestError};
use crate::hash::Hasher;
use crate::store::{ContentStore, Inner, remove_file};

/// How many bytes a blob is going to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Exactly so many, as its descriptor says.
    Exactly(u64),
    /// Not announced; refused beyond so many.
    AtMost(u64),
}

impl Expected {
    const fn limit(self) -> u64 {
        match self {
            Self::Exactly(limit) | Self::AtMost(limit) => limit,
        }
    }
}

/// A blob being received. Dropping it keeps what has arrived for a later resume.
#[derive(Debug)]
pub struct Ingest {
    reservation: Reservation,
    expected: Expected,
    file: File,
    hasher: Hasher,
    offset: u64,
    resumed: u64,
}

/// The right to write one blob's ingest file; given back when dropped.
#[derive(Debug)]
struct Reservation {
    store: Arc<Inner>,
    digest: Digest,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.store.release(&self.digest);
    }
}

impl ContentStore {
    /// Starts or resumes receiving a blob. What is on disk is hashed again, so that a cut at any
    /// byte, by a restart or a power cut, can be continued; a wrong prefix shows at commit.
    pub fn ingest(&self, digest: &Digest, expected: Expected) -> Result<Ingest, IngestError> {
        let failed = ingest_error(digest);
        if !self.inner.reserve(digest) {
            return Err(IngestError::Busy {
                digest: digest.clone(),
            });
        }
        let reservation = Reservation {
            store: Arc::clone(&self.inner),
            digest: digest.clone(),
        };
        match self.contains(digest) {
            Ok(None) => {}
            Ok(Some(_)) => {
                return Err(IngestError::AlreadyExists {
                    digest: digest.clone(),
                });
            }
            // The blob cannot be looked at; receiving it again is the way out.
            Err(error) => tracing::warn!(%digest, %error, "stored blob could not be read"),
        }
        let path = self.inner.ingest_path(digest);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(FileError::on("open", &path))
            .map_err(&failed)?;
        let mut hasher = Hasher::new(digest.algorithm());
        let mut offset = file.metadata().map_or(0, |metadata| metadata.size());
        if offset > expected.limit() {
            offset = 0;
        }
        if offset == 0 {
            file.set_len(0)
        } else {
            hasher.update_from(&mut file).map(|hashed| offset = hashed)
        }
        .map_err(FileError::on("resume", &path))
        .map_err(&failed)?;
        Ok(Ingest {
            reservation,
            expected,
            file,
            hasher,
            offset,
            resumed: offset,
        })
    }
}

impl Ingest {
    /// Returns the blob's name.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.reservation.digest
    }

    /// Returns how many bytes are there: where the sender has to go on.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns how many bytes an earlier ingest had left.
    #[must_use]
    pub const fn resumed(&self) -> u64 {
        self.resumed
    }

    /// Returns what the bytes received so far hash to.
    #[must_use]
    pub fn actual(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Returns how many bytes are still to come, at most.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.expected.limit().saturating_sub(self.offset)
    }

    /// Opens the bytes received so far for reading from the first one.
    pub fn reader(&self) -> Result<File, IngestError> {
        let path = self.reservation.store.ingest_path(self.digest());
        File::open(&path)
            .map_err(FileError::on("open", &path))
            .map_err(ingest_error(self.digest()))
    }

    /// Takes the next bytes. After an error the same bytes may be given again.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), IngestError> {
        let end = self.offset.saturating_add(bytes.len() as u64);
        if end > self.expected.limit() {
            return Err(IngestError::TooLarge {
                digest: self.digest().clone(),
                limit: self.expected.limit(),
            });
        }
        // At an explicit offset: a write torn by a full disk is overwritten, not continued.
        let path = self.reservation.store.ingest_path(self.digest());
        self.file
            .write_all_at(bytes, self.offset)
            .map_err(FileError::on("write", &path))
            .map_err(ingest_error(self.digest()))?;
        self.hasher.update(bytes);
        self.offset = end;
        Ok(())
    }

    /// Forgets everything received and starts at the first byte again.
    pub fn restart(&mut self) -> Result<(), IngestError> {
        let path = self.reservation.store.ingest_path(self.digest());
        self.file
            .set_len(0)
            .map_err(FileError::on("truncate", &path))
            .map_err(ingest_error(self.digest()))?;
        self.hasher = Hasher::new(self.digest().algorithm());
        self.offset = 0;
        self.resumed = 0;
        Ok(())
    }

    /// Accepts the blob if its bytes hash to its name, and returns its size.
    pub fn commit(self) -> Result<u64, CommitError> {
        let Self {
            reservation,
            expected,
            file,
            hasher,
            offset,
            resumed,
        } = self;
        let store = &reservation.store;
        let digest = reservation.digest.clone();
        if let Expected::Exactly(expected) = expected
            && offset < expected
        {
            return Err(CommitError::Incomplete {
                digest,
                received: offset,
                expected,
            });
        }
        let path = store.ingest_path(&digest);
        let failed = |source| CommitError::File {
            digest: digest.clone(),
            source,
        };
        let actual = hasher.finish();
        if actual != digest {
            remove_file(&path).map_err(failed)?;
            return Err(CommitError::Corrupt {
                digest,
                actual,
                resumed,
            });
        }
        // Cuts off what a torn write may have left behind the last byte.
        file.set_len(offset)
            .map_err(FileError::on("truncate", &path))
            .map_err(failed)?;
        store.admit(&digest).map_err(failed)?;
        Ok(offset)
    }

    /// Throws away everything received.
    pub fn discard(self) -> Result<(), IngestError> {
        let path = self.reservation.store.ingest_path(self.digest());
        remove_file(&path).map_err(ingest_error(self.digest()))
    }
}

fn ingest_error(digest: &Digest) -> impl Fn(FileError) -> IngestError {
    let digest = digest.clone();
    move |source| IngestError::File {
        digest: digest.clone(),
        source,
    }
}
