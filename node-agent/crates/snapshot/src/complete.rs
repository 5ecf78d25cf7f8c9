//! Completing an unpacked layer from the layers below it, which it could not see before.
//!
//! Directories that the archive only implies take the attributes that the layers below show, as
//! the overlay will show this layer's; hard links to files of theirs become copies.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_sys::rootdir::{self, RootDir};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};

use crate::apply::Applied;
use crate::merged::{Found, Stack};

/// What could not be completed.
#[derive(Debug)]
pub(crate) enum Incomplete {
    /// The path, and why.
    Io(Vec<u8>, io::Error),
    /// The link, and its target, which is missing or nothing to link to.
    Target(Vec<u8>, Vec<u8>),
}

/// Completes `layer`, the topmost of `stack`, from the layers below.
pub(crate) fn complete(
    layer: &RootDir,
    applied: &Applied,
    stack: &mut Stack,
) -> Result<(), Incomplete> {
    for (path, target) in &applied.links {
        complete_link(layer, path, target, stack)?;
    }
    for path in &applied.implied {
        complete_directory(path, stack).map_err(|error| Incomplete::Io(path.clone(), error))?;
    }
    Ok(())
}

fn complete_directory(path: &[u8], stack: &mut Stack) -> io::Result<()> {
    let shared = stack.shared(path)?;
    let Some((to, from)) = shared.pair() else {
        return Ok(());
    };
    copy_attributes(from, to, &rustix::fs::fstat(from)?)
}

fn complete_link(
    layer: &RootDir,
    path: &[u8],
    target: &[u8],
    stack: &mut Stack,
) -> Result<(), Incomplete> {
    let failed = |error| Incomplete::Io(path.to_vec(), error);
    let unusable = || Incomplete::Target(path.to_vec(), target.to_vec());
    let placeholder = Placeholder::open(layer, path).map_err(failed)?;
    let found = stack.find_below(target).map_err(failed)?;
    let found = found.ok_or_else(unusable)?;
    match file_type(&found.stat) {
        FileType::RegularFile => placeholder.become_copy(&found).map_err(failed),
        FileType::Symlink if placeholder.only_name => {
            placeholder.become_symlink(&found).map_err(failed)
        }
        _ => Err(unusable()),
    }
}

/// The empty file that stands for a link.
struct Placeholder {
    parent: OwnedFd,
    name: Vec<u8>,
    only_name: bool,
}

impl Placeholder {
    fn open(layer: &RootDir, path: &[u8]) -> io::Result<Self> {
        let (parent, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(cut) => (&path[..cut], &path[cut + 1..]),
            None => (&b""[..], path),
        };
        let parent = layer.open_plain(parent, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Self {
            parent,
            name: name.to_vec(),
            only_name: stat.st_nlink == 1,
        })
    }

    /// Fills the file itself, so that further links to it are links still.
    fn become_copy(&self, found: &Found) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = rustix::fs::openat(&self.parent, &*self.name, flags, Mode::empty())?;
        let from = found.open(OFlags::RDONLY | OFlags::NONBLOCK)?;
        let (mut from, mut to) = (File::from(from), File::from(to));
        io::copy(&mut from, &mut to)?;
        copy_attributes(from.as_fd(), to.as_fd(), &found.stat)
    }

    /// Gives way to a symlink, with the directory's time kept.
    fn become_symlink(&self, found: &Found) -> io::Result<()> {
        let before = rustix::fs::fstat(&self.parent)?;
        let name = &*self.name;
        let target = rustix::fs::readlinkat(&found.parent, &*found.name, Vec::new())?;
        rustix::fs::unlinkat(&self.parent, name, AtFlags::empty())?;
        rustix::fs::symlinkat(target, &self.parent, name)?;
        let (uid, gid) = owner(&found.stat);
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&self.parent, name, Some(uid), Some(gid), nofollow)?;
        for (key, value) in rootdir::xattrs_at(found.parent.as_fd(), &found.name)? {
            rootdir::set_xattr_at(self.parent.as_fd(), name, &key, &value)?;
        }
        rustix::fs::utimensat(&self.parent, name, &times(&found.stat), nofollow)?;
        Ok(rustix::fs::futimens(&self.parent, &times(&before))?)
    }
}

/// Gives `to` the owner, attributes, mode and times of `from`; the overlay's own marks stay apart.
pub(crate) fn copy_attributes(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    stat: &Stat,
) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(to, Some(uid), Some(gid))?;
    for (key, value) in rootdir::xattrs(from)? {
        if !key.starts_with(b"trusted.overlay.") {
            rustix::fs::fsetxattr(to, &*key, &value, XattrFlags::empty())?;
        }
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    Ok(rustix::fs::futimens(to, &times(stat))?)
}

fn owner(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanos: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanos).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
