//! The store: which blobs there are, and whether they can be trusted.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use agent_types::Digest;

use crate::clean::{self, Markers, Stamp};
use crate::error::{BlobError, FileError, OpenStoreError, SyncError};
use crate::hash::Hasher;

/// A stored blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobEntry {
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// When the last byte of it arrived.
    pub received_at: SystemTime,
}

/// What the store takes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of allocated blocks.
    pub bytes: u64,
    /// Files, blobs and ingests together.
    pub inodes: u64,
}

/// Blobs by digest; a cheap handle, every clone is the same store.
#[derive(Debug, Clone)]
pub struct ContentStore {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    root: PathBuf,
    markers: Markers,
    state: Mutex<State>,
    /// Held while a suspect is hashed, so that two callers do not both do it.
    verifying: Mutex<()>,
    /// Held during a sync, so that two do not write the list at once.
    syncing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Blobs with an open ingest.
    busy: HashSet<Digest>,
    /// Blobs that a crash may have damaged: hashed before their first use.
    suspects: HashSet<Digest>,
    /// Blobs committed or verified during this boot and not yet covered by a syncfs.
    pending: HashSet<Digest>,
    /// Blobs that a completed syncfs has covered.
    clean: HashMap<Digest, Stamp>,
}

impl ContentStore {
    /// Opens or makes the store in `directory`, which nothing else may write to.
    ///
    /// `boot_id` is the kernel's; blobs that were not known to be on disk before it changed are
    /// verified before their first use.
    pub fn open(directory: &Path, boot_id: &str) -> Result<Self, OpenStoreError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if boot_id.is_empty() || boot_id.len() > 64 || !boot_id.bytes().all(word) {
            return Err(OpenStoreError::BootId {
                value: boot_id.chars().take(100).collect(),
            });
        }
        for name in [
            "",
            "blobs",
            "blobs/sha256",
            "blobs/sha512",
            "ingest",
            "pending",
        ] {
            make_directory(&directory.join(name))?;
        }
        let markers = Markers::open(&directory.join("pending"), boot_id)?;
        let marked = markers.list()?;
        let listed = clean::load(&directory.join("clean"));
        let mut state = State::default();
        for (digest, stamp) in scan(directory)? {
            if listed.get(&digest) == Some(&stamp) {
                state.clean.insert(digest, stamp);
            } else if marked.contains(&digest) {
                state.pending.insert(digest);
            } else {
                state.suspects.insert(digest);
            }
        }
        if !state.suspects.is_empty() {
            tracing::info!(
                count = state.suspects.len(),
                "blobs will be verified before use"
            );
        }
        Ok(Self {
            inner: Arc::new(Inner {
                root: directory.to_owned(),
                markers,
                state: Mutex::new(state),
                verifying: Mutex::new(()),
                syncing: Mutex::new(()),
            }),
        })
    }

    /// Returns the size of a blob if it is stored and sound; hashes it first if it is suspect.
    pub fn contains(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        if !self.inner.verify_suspect(digest)? {
            return Ok(None);
        }
        let path = self.inner.blob_path(digest);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.size())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(blob_error(digest)(FileError::on("look at", &path)(error))),
        }
    }

    /// Says whether a blob is there, sound or suspect, without reading it.
    #[must_use]
    pub fn is_present(&self, digest: &Digest) -> bool {
        fs::symlink_metadata(self.inner.blob_path(digest)).is_ok()
    }

    /// Opens a blob for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, BlobError> {
        let not_found = || BlobError::NotFound {
            digest: digest.clone(),
        };
        if !self.inner.verify_suspect(digest)? {
            return Err(not_found());
        }
        let path = self.inner.blob_path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => not_found(),
            _ => blob_error(digest)(FileError::on("open", &path)(error)),
        })
    }

    /// Returns a blob of at most `cap` bytes, hashed once more on the way.
    pub fn read_small(&self, digest: &Digest, cap: u64) -> Result<Vec<u8>, BlobError> {
        let path = self.inner.blob_path(digest);
        let failed = |error| blob_error(digest)(FileError::on("read", &path)(error));
        let file = self.open_blob(digest)?;
        let size = file.metadata().map_err(failed)?.size();
        if size > cap {
            return Err(BlobError::TooLarge {
                digest: digest.clone(),
                size,
                cap,
            });
        }
        let mut bytes = Vec::new();
        file.take(cap).read_to_end(&mut bytes).map_err(failed)?;
        if Hasher::digest_of(digest.algorithm(), &bytes) != *digest {
            return Err(BlobError::Damaged {
                digest: digest.clone(),
            });
        }
        Ok(bytes)
    }

    /// Removes a blob and what was received of it; it is no error if there is neither.
    ///
    /// An ingest that is open right now is left alone.
    pub fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        let failed = blob_error(digest);
        remove_file(&self.inner.blob_path(digest)).map_err(&failed)?;
        let busy = {
            let mut state = self.inner.lock();
            state.suspects.remove(digest);
            state.pending.remove(digest);
            state.clean.remove(digest);
            state.busy.contains(digest)
        };
        if !busy {
            remove_file(&self.inner.ingest_path(digest)).map_err(&failed)?;
        }
        self.inner.markers.remove(digest).map_err(&failed)
    }

    /// Lists the stored blobs, suspects included, in no particular order.
    pub fn list(&self) -> Result<Vec<BlobEntry>, FileError> {
        let entry = |(digest, stamp): (Digest, Stamp)| BlobEntry {
            digest,
            size: stamp.size(),
            received_at: stamp.modified(),
        };
        Ok(scan(&self.inner.root)?.into_iter().map(entry).collect())
    }

    /// Removes what was received of blobs that nobody has added to for `age`; returns how many.
    pub fn sweep_ingests(&self, age: Duration) -> Result<usize, FileError> {
        let directory = self.inner.root.join("ingest");
        let failed = |error| FileError::on("read", &directory)(error);
        let mut removed = 0;
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let digest = entry.file_name().to_str().and_then(clean::digest_of_name);
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let idle = modified.is_ok_and(|at| {
                SystemTime::now()
                    .duration_since(at)
                    .is_ok_and(|idle| idle >= age)
            });
            let busy = digest.is_some_and(|digest| self.inner.lock().busy.contains(&digest));
            if idle && !busy {
                remove_file(&entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Returns the directory that it is in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.inner.root
    }

    /// Returns what the store takes on disk, ingests included.
    pub fn usage(&self) -> Result<Usage, FileError> {
        let mut usage = Usage::default();
        for name in ["blobs/sha256", "blobs/sha512", "ingest"] {
            let directory = self.inner.root.join(name);
            let failed = |error| FileError::on("read", &directory)(error);
            for entry in fs::read_dir(&directory).map_err(failed)? {
                // A file that vanishes meanwhile counts for nothing.
                if let Ok(metadata) = entry.map_err(failed)?.metadata() {
                    usage.bytes += metadata.blocks() * 512;
                    usage.inodes += 1;
                }
            }
        }
        Ok(usage)
    }

    /// Waits until all blobs stored by now are on the disk, and remembers that. Takes a while.
    pub fn sync(&self) -> Result<(), SyncError> {
        let inner = &self.inner;
        let _one_at_a_time = unpoisoned(inner.syncing.lock());
        let pending = inner.lock().pending.clone();
        if pending.is_empty() {
            return Ok(());
        }
        let root = File::open(&inner.root).map_err(FileError::on("open", &inner.root))?;
        rustix::fs::syncfs(&root)
            .map_err(|error| FileError::on("sync", &inner.root)(error.into()))?;
        let list = {
            let mut state = inner.lock();
            for digest in &pending {
                // Removed meanwhile, or removed and received again: then it stays pending.
                let stamp = fs::symlink_metadata(inner.blob_path(digest));
                if let (true, Ok(metadata)) = (state.pending.remove(digest), stamp) {
                    state.clean.insert(digest.clone(), Stamp::from(&metadata));
                }
            }
            state.clean.clone()
        };
        clean::save(&inner.root.join("clean"), &list)?;
        for digest in &pending {
            if !inner.lock().pending.contains(digest) {
                inner.markers.remove(digest)?;
            }
        }
        Ok(())
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let mut path = self.root.join("blobs");
        path.push(digest.algorithm().name());
        path.push(digest.hex());
        path
    }

    pub(crate) fn ingest_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("ingest").join(clean::name_of(digest))
    }

    /// Reserves `digest` for one ingest; false if another has it.
    pub(crate) fn reserve(&self, digest: &Digest) -> bool {
        self.lock().busy.insert(digest.clone())
    }

    pub(crate) fn release(&self, digest: &Digest) {
        self.lock().busy.remove(digest);
    }

    /// Moves a verified ingest among the blobs.
    pub(crate) fn admit(&self, digest: &Digest) -> Result<(), FileError> {
        // Marker first: without it a crash of the agent alone would make the blob suspect.
        self.markers.add(digest)?;
        let path = self.blob_path(digest);
        fs::rename(self.ingest_path(digest), &path).map_err(FileError::on("make", &path))?;
        self.lock().pending.insert(digest.clone());
        Ok(())
    }

    /// Returns whether a blob may be used; a suspect that is not sound is removed.
    fn verify_suspect(&self, digest: &Digest) -> Result<bool, BlobError> {
        if !self.lock().suspects.contains(digest) {
            return Ok(true);
        }
        let _one_at_a_time = unpoisoned(self.verifying.lock());
        if !self.lock().suspects.contains(digest) {
            return Ok(true);
        }
        let failed = blob_error(digest);
        let path = self.blob_path(digest);
        let mut hasher = Hasher::new(digest.algorithm());
        let read = File::open(&path).and_then(|mut file| hasher.update_from(&mut file));
        read.map_err(FileError::on("verify", &path))
            .map_err(&failed)?;
        let sound = hasher.finish() == *digest;
        if sound {
            self.markers.add(digest).map_err(&failed)?;
        } else {
            tracing::warn!(%digest, "blob was damaged by a crash and has been dropped");
            remove_file(&path).map_err(&failed)?;
        }
        let mut state = self.lock();
        state.suspects.remove(digest);
        if sound {
            state.pending.insert(digest.clone());
        }
        Ok(sound)
    }
}

/// A panic elsewhere leaves sets of digests that are still true.
fn unpoisoned<T>(lock: Result<T, PoisonError<T>>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}

fn blob_error(digest: &Digest) -> impl Fn(FileError) -> BlobError {
    let digest = digest.clone();
    move |source| BlobError::File {
        digest: digest.clone(),
        source,
    }
}

/// Makes a directory that only we can enter, or finds it.
pub(crate) fn make_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(FileError::on("make directory", path))
}

/// Removes a file or finds it gone.
pub(crate) fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::on("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Finds the blobs below `root`; files that are not named as blobs are not ours.
fn scan(root: &Path) -> Result<Vec<(Digest, Stamp)>, FileError> {
    let mut found = Vec::new();
    for algorithm in ["sha256", "sha512"] {
        let directory = root.join("blobs").join(algorithm);
        let failed = |error| FileError::on("read", &directory)(error);
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let digest = name
                .to_str()
                .and_then(|hex| format!("{algorithm}:{hex}").parse().ok());
            if let (Some(digest), Ok(metadata)) = (digest, entry.metadata())
                && metadata.is_file()
            {
                found.push((digest, Stamp::from(&metadata)));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
