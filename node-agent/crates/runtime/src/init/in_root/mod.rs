//! Paths of a container, resolved so that none of them leaves its root.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::Errno;

/// Most links followed in one path, as in the kernel.
const LINKS_CAP: usize = 40;

/// `f_type` of procfs.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Mode of directories made on the way to a destination.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// What the last part of a path is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Directory,
    File,
}

/// A container's root directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct InRoot<'a>(pub(super) BorrowedFd<'a>);

impl InRoot<'_> {
    /// Opens what `path` leads to, following links inside the root only, and none of procfs's.
    pub(super) fn open(self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        self.resolve(path, flags, ResolveFlags::empty())
    }

    /// Opens what `path` leads to when no part of it is a link.
    pub(super) fn open_plain(self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        self.resolve(path, flags, ResolveFlags::NO_SYMLINKS)
    }

    fn resolve(self, path: &Path, flags: OFlags, more: ResolveFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
        let flags = flags | OFlags::CLOEXEC;
        loop {
            match openat2(self.0, path, flags, Mode::empty(), resolve) {
                // A rename somewhere raced with a `..`.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Returns a handle on what `path` leads to, made with its parents where missing.
    pub(super) fn ensure(self, path: &Path, last: Last) -> io::Result<OwnedFd> {
        match self.open(path, OFlags::PATH) {
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
                Walk::new(self.0, path).run(last)
            }
            other => other,
        }
    }
}

/// Returns whether two files are one.
pub(super) fn same_file(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Returns the type of an open file.
pub(super) fn type_of(file: BorrowedFd<'_>) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode))
}

/// Returns whether an open file lies in a procfs.
pub(super) fn is_procfs(file: BorrowedFd<'_>) -> io::Result<bool> {
    let found = rustix::fs::fstatfs(file)?;
    Ok(u64::try_from(found.f_type).is_ok_and(|kind| kind == PROC_SUPER_MAGIC))
}

/// A walk part by part that makes what is missing.
///
/// It never asks the kernel for `..`: it keeps the directories it came through, so nothing that is moved meanwhile leads out.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// Directories entered, the root not among them.
    entered: Vec<OwnedFd>,
    pending: VecDeque<OsString>,
    links: usize,
}

impl<'a> Walk<'a> {
    fn new(root: BorrowedFd<'a>, path: &Path) -> Self {
        let mut walk = Self {
            root,
            entered: Vec::new(),
            pending: VecDeque::new(),
            links: 0,
        };
        walk.expect(path);
        walk
    }

    /// Puts the parts of `path` before what is still to be walked.
    fn expect(&mut self, path: &Path) {
        for component in path.components().rev() {
            match component {
                Component::Normal(part) => self.pending.push_front(part.to_owned()),
                Component::ParentDir => self.pending.push_front("..".into()),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
    }

    fn run(mut self, last: Last) -> io::Result<OwnedFd> {
        while let Some(part) = self.pending.pop_front() {
            if part.as_bytes() == b".." {
                self.entered.pop();
                continue;
            }
            if let Some(file) = self.enter(part, last)? {
                return Ok(file);
            }
        }
        match self.entered.pop() {
            Some(directory) => Ok(directory),
            None => Ok(rustix::io::fcntl_dupfd_cloexec(self.root, 0)?),
        }
    }

    /// Goes through one part; returns it when it is a file and the last.
    fn enter(&mut self, part: OsString, last: Last) -> io::Result<Option<OwnedFd>> {
        let here = self.entered.last().map_or(self.root, AsFd::as_fd);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let is_last = self.pending.is_empty();
        let opened = match rustix::fs::openat(here, &part, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                make(here, &part, if is_last { last } else { Last::Directory })?;
                rustix::fs::openat(here, &part, flags, Mode::empty())?
            }
            other => other?,
        };
        match type_of(opened.as_fd())? {
            FileType::Directory => self.entered.push(opened),
            FileType::Symlink => self.follow(&opened)?,
            _ if is_last => return Ok(Some(opened)),
            _ => return Err(Errno::NOTDIR.into()),
        }
        Ok(None)
    }

    fn follow(&mut self, link: &OwnedFd) -> io::Result<()> {
        self.links += 1;
        // What procfs's links say is not where they lead, and nothing can be made in it anyway.
        if self.links > LINKS_CAP || is_procfs(link.as_fd())? {
            return Err(Errno::LOOP.into());
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new())?;
        let target = OsString::from_vec(target.into_bytes());
        let target = Path::new(&target);
        if target.is_absolute() {
            self.entered.clear();
        }
        self.expect(target);
        Ok(())
    }
}

/// Makes a directory or an empty file; one that somebody else just made is as good.
fn make(parent: BorrowedFd<'_>, name: &OsStr, kind: Last) -> io::Result<()> {
    let made = match kind {
        Last::Directory => rustix::fs::mkdirat(parent, name, DIRECTORY_MODE),
        Last::File => {
            let flags =
                OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        Err(Errno::EXIST) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests;
