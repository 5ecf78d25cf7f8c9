//! Deleting directory trees that images and containers made, by descriptor.
//!
//! Never follows a symlink, never crosses into another file system, and holds few descriptors
//! however deep the tree: what lies too deep is first moved up.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

/// Levels walked with a descriptor each; deeper trees are moved up to the trash itself.
const MAX_DEPTH: usize = 64;

/// The directory that things are moved to at once and deleted from at leisure.
#[derive(Debug)]
pub(crate) struct Trash {
    dir: OwnedFd,
    next: AtomicU64,
}

impl Trash {
    /// Takes `dir`, with whatever an earlier run left in it.
    pub(crate) fn new(dir: OwnedFd) -> io::Result<Self> {
        let left = names(dir.as_fd())?;
        let numbers = left
            .iter()
            .filter_map(|name| name.to_str().ok()?.parse::<u64>().ok());
        let highest = numbers.max().unwrap_or(0);
        Ok(Self {
            dir,
            next: AtomicU64::new(highest.saturating_add(1)),
        })
    }

    /// Moves `name` out of `parent` into the trash; returns its name there.
    pub(crate) fn take(&self, parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<String> {
        loop {
            let new = self.next.fetch_add(1, Ordering::Relaxed).to_string();
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(parent, name, &self.dir, &new, flags) {
                Err(Errno::EXIST) => {}
                result => return Ok(result.map(|()| new)?),
            }
        }
    }

    /// Deletes one thing in the trash; returns the number of inodes.
    pub(crate) fn delete(&self, name: &str) -> io::Result<u64> {
        let name = CString::new(name)?;
        self.delete_in(self.dir.as_fd(), &name, 0)
    }

    /// Deletes everything in the trash; returns the number of inodes. One tree that cannot be
    /// deleted does not keep the others; the first failure is reported.
    pub(crate) fn sweep(&self) -> io::Result<u64> {
        let mut deleted = 0;
        // Trees moved up in one pass are found by the next.
        loop {
            let (mut progress, mut failure) = (0, None);
            for name in names(self.dir.as_fd())? {
                match self.delete_in(self.dir.as_fd(), &name, 0) {
                    Ok(inodes) => progress += inodes,
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            deleted += progress;
            match failure {
                _ if progress > 0 => {}
                Some(error) => return Err(error),
                None => return Ok(deleted),
            }
        }
    }

    fn delete_in(&self, parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> io::Result<u64> {
        // Unlinking first costs one call for anything but a directory.
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) => return Ok(1),
            Err(Errno::NOENT) => return Ok(0),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
        if depth >= MAX_DEPTH {
            self.take(parent, name.to_bytes())?;
            return Ok(0);
        }
        let dir = match open_child(parent, name) {
            Err(Errno::NOENT) => return Ok(0),
            other => other?,
        };
        let deleted = self.delete_children(dir.as_fd(), depth + 1)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(deleted + 1),
            Err(Errno::NOENT) => Ok(deleted),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Deletes what `dir` holds, reading it again until it is empty, as deleting moves positions.
    /// Another thread may be deleting the same tree: what is gone is gone.
    fn delete_children(&self, dir: BorrowedFd<'_>, depth: usize) -> io::Result<u64> {
        let mut deleted = 0;
        let mut buffer = Vec::with_capacity(8192);
        loop {
            let mut seen = 0;
            let reopened = match reopen(dir) {
                Err(Errno::NOENT) => return Ok(deleted),
                other => other?,
            };
            let mut entries = RawDir::new(&reopened, buffer.spare_capacity_mut());
            while let Some(entry) = entries.next() {
                let entry = match entry {
                    Err(Errno::NOENT) => return Ok(deleted),
                    other => other?,
                };
                let name = entry.file_name();
                if is_dot(name) {
                    continue;
                }
                seen += 1;
                let name = name.to_owned();
                deleted += self.delete_in(dir, &name, depth)?;
            }
            if seen == 0 {
                return Ok(deleted);
            }
        }
    }
}

/// Opens a directory, but neither through a symlink nor into another mount.
fn open_child(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV | ResolveFlags::BENEATH;
    rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve)
}

/// Returns what `dir` holds.
pub(crate) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let reopened = reopen(dir)?;
    let mut buffer = Vec::with_capacity(8192);
    let mut entries = RawDir::new(&reopened, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !is_dot(entry.file_name()) {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Opens `dir` again, for a reading position of its own.
fn reopen(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, c".", flags, Mode::empty())
}

pub(crate) fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// Space and inodes below a directory, as far as they could be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes allocated on disk.
    pub bytes: u64,
    /// Files, directories and other nodes.
    pub inodes: u64,
    /// False if parts lie too deep to be counted, or vanished meanwhile.
    pub complete: bool,
}

/// Levels counted, with a descriptor each.
const MAX_COUNTED_DEPTH: usize = 256;

/// Counts what lies at and below `dir`, which others may be changing.
pub(crate) fn usage(dir: BorrowedFd<'_>) -> io::Result<Usage> {
    let stat = rustix::fs::fstat(dir)?;
    let mut counter = Counter {
        device: stat.st_dev,
        usage: Usage {
            bytes: 0,
            inodes: 0,
            complete: true,
        },
        linked: HashSet::new(),
    };
    counter.add(&stat);
    counter.walk(dir, 0)?;
    Ok(counter.usage)
}

struct Counter {
    device: u64,
    usage: Usage,
    /// Inodes with several names, seen already.
    linked: HashSet<u64>,
}

impl Counter {
    fn add(&mut self, stat: &rustix::fs::Stat) {
        self.usage.inodes += 1;
        self.usage.bytes += stat.st_blocks.unsigned_abs() * 512;
    }

    fn walk(&mut self, dir: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
        let reopened = reopen(dir)?;
        let mut buffer = Vec::with_capacity(4096);
        let mut entries = RawDir::new(&reopened, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if !is_dot(entry.file_name()) {
                self.count(dir, entry.file_name(), depth)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, dir: BorrowedFd<'_>, name: &CStr, depth: usize) -> io::Result<()> {
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if stat.st_dev != self.device {
            return Ok(());
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            if stat.st_nlink == 1 || self.linked.insert(stat.st_ino) {
                self.add(&stat);
            }
            return Ok(());
        }
        self.add(&stat);
        if depth >= MAX_COUNTED_DEPTH {
            self.usage.complete = false;
            return Ok(());
        }
        match open_child(dir, name) {
            Ok(child) => self.walk(child.as_fd(), depth + 1),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {
                self.usage.complete = false;
                Ok(())
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tree(dir: &std::path::Path, depth: usize) {
        fs::create_dir(dir).unwrap();
        for n in 0..4 {
            fs::write(dir.join(format!("f{n}")), b"x").unwrap();
            if depth > 0 {
                tree(&dir.join(format!("d{n}")), depth - 1);
            }
        }
    }

    #[test]
    fn threads_that_delete_the_same_tree_do_not_disturb_each_other() {
        let temp = tempfile::tempdir().unwrap();
        let trash = Trash::new(fs::File::open(temp.path()).unwrap().into()).unwrap();
        tree(&temp.path().join("1"), 3);
        tree(&temp.path().join("2"), 3);
        let deleted: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| trash.sweep().unwrap()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(
            deleted,
            2 * 85 * 5,
            "each is counted by the one that deleted it"
        );
        assert!(names(trash.dir.as_fd()).unwrap().is_empty());
    }

    #[test]
    fn a_symlink_is_deleted_and_not_followed() {
        let (temp, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("kept"), b"x").unwrap();
        fs::create_dir(temp.path().join("d")).unwrap();
        std::os::unix::fs::symlink(other.path(), temp.path().join("d/l")).unwrap();
        let trash = Trash::new(fs::File::open(temp.path()).unwrap().into()).unwrap();
        assert_eq!(trash.sweep().unwrap(), 2);
        assert!(other.path().join("kept").exists());
    }
}
