//! Looking things up in a stack of layers as the overlay would show them, without mounting it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_sys::rootdir::{self, RootDir};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Layers, topmost first.
#[derive(Debug)]
pub(crate) struct Stack {
    roots: Vec<RootDir>,
}

/// Something found: `name` in `parent`.
#[derive(Debug)]
pub(crate) struct Found {
    pub parent: OwnedFd,
    pub name: Vec<u8>,
    pub stat: Stat,
}

/// What one layer says about a path.
enum Answer {
    Found(Found),
    /// It has nothing there; the layers below decide.
    Below,
    /// Nothing of the layers below shows there.
    Hidden,
}

impl Stack {
    pub(crate) fn new(roots: Vec<RootDir>) -> Self {
        Self { roots }
    }

    /// Finds what the stack shows at `path` (canonical, symlinks on the way not followed).
    pub(crate) fn find(&self, path: &[u8]) -> io::Result<Option<Found>> {
        for root in &self.roots {
            match look(root.as_fd(), path)? {
                Answer::Found(found) => return Ok(Some(found)),
                Answer::Below => {}
                Answer::Hidden => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// Says whether what lies below at `path` cannot show through the layer `root`, because the
/// directory there or one on the way to it is opaque.
pub(crate) fn is_hidden(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<bool> {
    let mut dir = open(root, b".")?;
    for name in path.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
        dir = open(dir.as_fd(), name)?;
        if is_opaque(dir.as_fd())? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn look(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<Answer> {
    let mut parent = open(root, b".")?;
    let mut components = path.split(|b| *b == b'/').peekable();
    let mut hidden = false;
    while let Some(name) = components.next() {
        let name = if name.is_empty() { b"." } else { name };
        let stat = match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if hidden => return Ok(Answer::Hidden),
            Err(Errno::NOENT) => return Ok(Answer::Below),
            other => other?,
        };
        if rootdir::is_whiteout(&stat) {
            return Ok(Answer::Hidden);
        }
        if components.peek().is_none() {
            let name = name.to_vec();
            return Ok(Answer::Found(Found { parent, name, stat }));
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(Answer::Hidden);
        }
        parent = open(parent.as_fd(), name)?;
        hidden = hidden || is_opaque(parent.as_fd())?;
    }
    Ok(Answer::Below)
}

fn open(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

fn is_opaque(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let mut value = [0; 1];
    match rustix::fs::fgetxattr(dir, c"trusted.overlay.opaque", &mut value[..]) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
