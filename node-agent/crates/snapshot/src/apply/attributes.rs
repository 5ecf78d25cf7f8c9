//! Owner, extended attributes, mode and times of what was made, in the one order that keeps all:
//! chown drops capabilities and set-id bits, so it comes first.

use std::io;
use std::os::fd::BorrowedFd;

use agent_sys::rootdir;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::error::{During, Failure, Refusal};
use crate::archive::{Entry, EntryName, Mtime, Xattr};

/// Attributes set by descriptor or by name.
#[derive(Debug, Clone)]
pub(crate) struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Mtime,
    pub xattrs: Vec<Xattr>,
}

impl Attributes {
    /// Takes those of `entry`, leaving it without extended ones.
    pub(super) fn of(entry: &mut Entry) -> Result<Self, Refusal> {
        let mut xattrs = std::mem::take(&mut entry.xattrs);
        for xattr in &xattrs {
            let overlay = [&b"trusted.overlay."[..], b"user.overlay."];
            if overlay.iter().any(|prefix| xattr.name.starts_with(prefix)) {
                let name = EntryName::new(&xattr.name);
                return Err(Refusal::Attribute { name });
            }
        }
        // Labels of this host's security modules are not an image's to choose.
        xattrs.retain(|xattr| {
            !xattr.name.starts_with(b"security.") || xattr.name == b"security.capability"
        });
        Ok(Self {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs,
        })
    }

    /// Memory held, for the cap on directories.
    pub(super) fn weight(&self) -> usize {
        let weigh = |xattr: &Xattr| xattr.name.len() + xattr.value.len() + 48;
        self.xattrs.iter().map(weigh).sum()
    }

    fn owned_by_root(&self) -> bool {
        self.uid == 0 && self.gid == 0
    }

    /// Completes a file just created as root with `mode & 0o777`.
    pub(super) fn set_on_file(&self, file: BorrowedFd<'_>, umask: u32) -> Result<(), Failure> {
        self.set_owner_and_xattrs(file)?;
        if self.mode & (umask | 0o7000) != 0 {
            rustix::fs::fchmod(file, mode(self.mode)).during("given its mode")?;
        }
        rustix::fs::futimens(file, &times(self.mtime)).during("given its time")
    }

    /// Completes a directory, whatever its mode and owner are now.
    pub(super) fn set_on_directory(&self, dir: BorrowedFd<'_>) -> Result<(), Failure> {
        self.set_owner_and_xattrs(dir)?;
        rustix::fs::fchmod(dir, mode(self.mode)).during("given its mode")?;
        rustix::fs::futimens(dir, &times(self.mtime)).during("given its time")
    }

    fn set_owner_and_xattrs(&self, fd: BorrowedFd<'_>) -> Result<(), Failure> {
        if !self.owned_by_root() {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::fchown(fd, Some(uid), Some(gid)).during("given its owner")?;
        }
        for xattr in &self.xattrs {
            let name = xattr.name.as_slice();
            let set = rustix::fs::fsetxattr(fd, name, &xattr.value, XattrFlags::empty());
            tolerate(name, set.map_err(io::Error::from)).during("given its attributes")?;
        }
        Ok(())
    }

    /// Completes a node that cannot be opened: a symlink, a device or a fifo, just made in `dir`.
    pub(super) fn set_on_node(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        symlink: bool,
        umask: u32,
    ) -> Result<(), Failure> {
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if !self.owned_by_root() {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), nofollow)
                .during("given its owner")?;
        }
        // The kernel has user attributes on files and directories only.
        for xattr in self.xattrs.iter().filter(|x| !x.name.starts_with(b"user.")) {
            let set = rootdir::set_xattr_at(dir, name, &xattr.name, &xattr.value);
            tolerate(&xattr.name, set).during("given its attributes")?;
        }
        if !symlink && self.mode & (umask | 0o7000) != 0 {
            // Follows nothing: the node was made here, where nobody else can go.
            rustix::fs::chmodat(dir, name, mode(self.mode), AtFlags::empty())
                .during("given its mode")?;
        }
        rustix::fs::utimensat(dir, name, &times(self.mtime), nofollow).during("given its time")
    }
}

/// A file system without attributes of a kind does without them, but never without capabilities,
/// whose silent loss would show only when the program runs.
fn tolerate(name: &[u8], result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if name != b"security.capability" => {
            let unsupported = error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error());
            if unsupported { Ok(()) } else { Err(error) }
        }
        other => other,
    }
}

pub(crate) fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits & 0o7777)
}

pub(crate) fn times(mtime: Mtime) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.seconds,
        tv_nsec: mtime.nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Makes a directory opaque: the overlay shows nothing of the layers below in it.
pub(super) fn set_opaque(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(parent, name, flags, Mode::empty()).during("made opaque")?;
    let flags = XattrFlags::empty();
    rustix::fs::fsetxattr(dir, c"trusted.overlay.opaque", b"y", flags).during("made opaque")
}
