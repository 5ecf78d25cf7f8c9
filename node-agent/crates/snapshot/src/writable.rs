//! Writable layers: the upper and work directories of containers.
//!
//! A directory's name says what it stands on, so that no record is needed: `c/<key>~<chain hex>`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use agent_sys::rootdir::{self, RootDir};
use agent_types::SnapshotKey;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use crate::chain::ChainId;
use crate::delete::{Usage, usage};
use crate::error::{LookupError, PrepareError, RemoveError, UsageError};
use crate::snapshots::{EMPTY_LAYER, Snapshots};

/// Separates key and chain in a directory's name; no key has one.
const SEPARATOR: char = '~';

/// What an overlay of a container is mounted from. All names are relative to `base`, and short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritableLayer {
    /// The directory that the names are relative to.
    pub base: PathBuf,
    /// Read-only directories, topmost first; never empty.
    pub lower: Vec<String>,
    /// The directory that takes the container's changes.
    pub upper: String,
    /// The overlay's own directory, on the same file system.
    pub work: String,
}

/// What the overlay shows of its root directory comes from the topmost directory, which is a new
/// one for each container: it gets these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootAttributes {
    mode: u32,
    uid: u32,
    gid: u32,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl RootAttributes {
    fn read(root: BorrowedFd<'_>) -> io::Result<Self> {
        let stat = rustix::fs::fstat(root)?;
        let mut xattrs = rootdir::xattrs(root)?;
        xattrs.retain(|(key, _)| !key.starts_with(b"trusted.overlay."));
        Ok(Self {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            xattrs,
        })
    }

    fn mode(&self) -> Mode {
        Mode::from_raw_mode(self.mode)
    }

    /// Whether a directory made with this mode, under `umask`, lacks nothing.
    fn is_plain(&self, umask: u32) -> bool {
        self.uid == 0
            && self.gid == 0
            && self.xattrs.is_empty()
            && self.mode & (umask | 0o7000) == 0
    }

    fn set_on(&self, dir: BorrowedFd<'_>) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        rustix::fs::fchown(dir, Some(uid), Some(gid))?;
        for (key, value) in &self.xattrs {
            rustix::fs::fsetxattr(dir, &**key, value, XattrFlags::empty())?;
        }
        Ok(rustix::fs::fchmod(dir, self.mode())?)
    }
}

/// Returns the name of the directory below `c`.
fn directory_name(key: &SnapshotKey, top: Option<&ChainId>) -> String {
    let chain = top.map_or("", |chain| chain.digest().hex());
    format!("{key}{SEPARATOR}{chain}")
}

/// Reads such a name; `None` if it is none of ours.
pub(crate) fn parse_directory_name(name: &str) -> Option<(SnapshotKey, Option<ChainId>)> {
    let (key, hex) = name.split_once(SEPARATOR)?;
    let key = key.parse().ok()?;
    let algorithm = if hex.len() == 128 { "sha512" } else { "sha256" };
    let top = match hex {
        "" => None,
        hex => Some(format!("{algorithm}:{hex}").parse().ok()?),
    };
    Some((key, top))
}

impl Snapshots {
    /// Makes the directories of a container on top of an image, or on nothing. Doing it again
    /// returns the same. Nothing is synced.
    ///
    /// # Errors
    /// A layer is missing, the key stands on another image, or the file system said no.
    pub fn prepare(
        &self,
        key: &SnapshotKey,
        top: Option<&ChainId>,
    ) -> Result<WritableLayer, PrepareError> {
        let failed = |source| PrepareError::Directory {
            key: key.clone(),
            source,
        };
        let lower = self.claim(key, top)?;
        let name = directory_name(key, top);
        let made = self
            .root_attributes(top)
            .and_then(|root| self.make_directories(&name, &root));
        if let Err(error) = made {
            if let Err(error) = self.remove(key) {
                tracing::warn!(snapshot = %key, error = %error, "snapshot was not removed");
            }
            return Err(failed(error));
        }
        let lower = self.with_points(top, lower);
        Ok(self.writable(&name, lower))
    }

    /// Notes the container before its directories exist, so that no layer below can go.
    fn claim(&self, key: &SnapshotKey, top: Option<&ChainId>) -> Result<Vec<String>, PrepareError> {
        let mut state = self.inner.state();
        let lower = state.lower(top).map_err(|source| PrepareError::Layer {
            key: key.clone(),
            source,
        })?;
        match state.writable.get(key) {
            Some(taken) if taken.as_ref() != top => {
                return Err(PrepareError::Conflict { key: key.clone() });
            }
            Some(_) => {}
            None => {
                state.writable.insert(key.clone(), top.cloned());
            }
        }
        Ok(lower)
    }

    /// Returns the root attributes that `top` shows; read once a layer.
    fn root_attributes(&self, top: Option<&ChainId>) -> io::Result<Arc<RootAttributes>> {
        let known = top.and_then(|top| {
            let state = self.inner.state();
            let layer = state.layers.get(top)?;
            Some((layer.root.clone(), layer.record.lower()))
        });
        let (known, lower) = known.unwrap_or_else(|| (None, EMPTY_LAYER.to_owned()));
        if let Some(known) = known {
            return Ok(known);
        }
        let root = RootDir::open(&self.base().join(lower))?;
        let read = Arc::new(RootAttributes::read(root.as_fd())?);
        let mut state = self.inner.state();
        if let Some(layer) = top.and_then(|top| state.layers.get_mut(top)) {
            layer.root = Some(Arc::clone(&read));
        }
        Ok(read)
    }

    /// Makes the directories that are missing. `work` comes last: once it is there, all is.
    fn make_directories(&self, name: &str, root: &RootAttributes) -> io::Result<()> {
        make(self.inner.writable.as_fd(), name, Mode::RWXU)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.inner.writable, name, flags, Mode::empty())?;
        if has(dir.as_fd(), "work")? {
            return Ok(());
        }
        make(dir.as_fd(), "fs", root.mode())?;
        if !root.is_plain(self.inner.umask) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let upper: OwnedFd = rustix::fs::openat(&dir, "fs", flags, Mode::empty())?;
            root.set_on(upper.as_fd())?;
        }
        make(dir.as_fd(), "work", Mode::RWXU)
    }

    fn writable(&self, name: &str, lower: Vec<String>) -> WritableLayer {
        WritableLayer {
            base: self.base().to_owned(),
            lower,
            upper: format!("c/{name}/fs"),
            work: format!("c/{name}/work"),
        }
    }

    /// Returns what was prepared.
    ///
    /// # Errors
    /// It never was, or a layer below is missing.
    pub fn get(&self, key: &SnapshotKey) -> Result<WritableLayer, LookupError> {
        let state = self.inner.state();
        let top = state
            .writable
            .get(key)
            .ok_or_else(|| LookupError::Snapshot { key: key.clone() })?;
        let layers = state.lower(top.as_ref())?;
        let lower = state
            .points(top.as_ref())
            .into_iter()
            .chain(layers)
            .collect();
        Ok(self.writable(&directory_name(key, top.as_ref()), lower))
    }

    /// Removes a container's directories from sight; their files go with the next
    /// [`Snapshots::sweep`]. Nothing may be mounted from them any more. Unknown is no error.
    ///
    /// # Errors
    /// The file system said no; the snapshot is there still.
    pub fn remove(&self, key: &SnapshotKey) -> Result<(), RemoveError> {
        let top = self.inner.state().writable.get(key).cloned();
        let Some(top) = top else {
            return Ok(());
        };
        let name = directory_name(key, top.as_ref());
        match self
            .inner
            .trash
            .take(self.inner.writable.as_fd(), name.as_bytes())
        {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RemoveError::Snapshot {
                    key: key.clone(),
                    source: error,
                });
            }
            _ => {}
        }
        self.inner.state().writable.remove(key);
        Ok(())
    }

    /// Counts what a container has written.
    ///
    /// # Errors
    /// There is no such snapshot, or the walk failed.
    pub fn usage(&self, key: &SnapshotKey) -> Result<Usage, UsageError> {
        let top = self.inner.state().writable.get(key).cloned();
        let top = top.ok_or_else(|| UsageError::NotFound {
            source: LookupError::Snapshot { key: key.clone() },
        })?;
        let upper = format!("c/{}/fs", directory_name(key, top.as_ref()));
        let counted = RootDir::open(&self.base().join(upper)).and_then(|root| usage(root.as_fd()));
        counted.map_err(|source| UsageError::Walk {
            key: key.clone(),
            source,
        })
    }
}

/// Makes a directory; one that is there already is fine.
fn make(parent: BorrowedFd<'_>, name: &str, mode: Mode) -> io::Result<()> {
    match rustix::fs::mkdirat(parent, name, mode) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn has(parent: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_types::Digest;

    #[test]
    fn a_directory_name_says_what_it_stands_on() {
        let key: SnapshotKey = "c-1.a_b".parse().unwrap();
        let tops = [
            None,
            Some(ChainId::from(Digest::sha256(&[7; 32]))),
            Some(ChainId::from(Digest::sha512(&[7; 64]))),
        ];
        for top in tops {
            let name = directory_name(&key, top.as_ref());
            assert_eq!(parse_directory_name(&name), Some((key.clone(), top)));
        }
        for bad in ["", "~", "key", "key~zz", "a/b~", "key~ab~cd", "..~"] {
            assert_eq!(parse_directory_name(bad), None, "{bad}");
        }
    }
}
