//! Looking things up in a stack of layers as the overlay would show them, without mounting it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use agent_sys::rootdir::{self, RootDir};
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Directories on the way to the last path that are kept open.
const KEPT: usize = 256;

/// A layer and those below it. It remembers the way to the last path: paths that are asked for in
/// order share most of theirs, and each step of it is a call for each layer.
#[derive(Debug)]
pub(crate) struct Stack {
    roots: Rc<Merged>,
    way: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    name: Vec<u8>,
    merged: Rc<Merged>,
}

/// The directories that make up what the overlay shows at one path.
#[derive(Debug, Default)]
struct Merged {
    /// The layer's own.
    own: Option<OwnedFd>,
    /// Those of the layers below that show through it, topmost first.
    below: Vec<OwnedFd>,
}

/// Something found: `name` in `parent`.
#[derive(Debug)]
pub(crate) struct Found {
    pub parent: OwnedFd,
    pub name: Vec<u8>,
    pub stat: Stat,
}

impl Found {
    /// Opens it, itself and not what it links to.
    pub(crate) fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(
            &self.parent,
            &*self.name,
            flags,
            Mode::empty(),
        )?)
    }
}

/// A directory of the layer, and the one below whose place it takes.
#[derive(Debug)]
pub(crate) struct Shared(Rc<Merged>);

impl Shared {
    /// Returns the layer's own directory and the topmost below it.
    pub(crate) fn pair(&self) -> Option<(BorrowedFd<'_>, BorrowedFd<'_>)> {
        let own = self.0.own.as_ref()?;
        let below = self.0.below.first()?;
        Some((own.as_fd(), below.as_fd()))
    }
}

impl Stack {
    /// Puts `layer` on top of the layers `below`, which come topmost first.
    pub(crate) fn new(layer: &RootDir, below: &[RootDir]) -> io::Result<Self> {
        let below: Result<Vec<_>, Errno> =
            below.iter().map(|root| open(root.as_fd(), b".")).collect();
        let roots = Rc::new(Merged {
            own: Some(open(layer.as_fd(), b".")?),
            below: below?,
        });
        let way = Vec::new();
        Ok(Self { roots, way })
    }

    /// Finds what the layers below show at `path` (canonical, symlinks on the way not followed),
    /// unless the layer hides the directory that it lies in.
    pub(crate) fn find_below(&mut self, path: &[u8]) -> io::Result<Option<Found>> {
        let (parent, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(cut) => (&path[..cut], &path[cut + 1..]),
            None => (&b""[..], path),
        };
        for dir in &self.merged(parent)?.below {
            let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            if rootdir::is_whiteout(&stat) {
                return Ok(None);
            }
            let (parent, name) = (dir.try_clone()?, name.to_vec());
            return Ok(Some(Found { parent, name, stat }));
        }
        Ok(None)
    }

    /// Finds the directory that the layer and at least one below it show together at `path`.
    pub(crate) fn shared(&mut self, path: &[u8]) -> io::Result<Shared> {
        self.merged(path).map(Shared)
    }

    /// Returns what the overlay shows at `path`, or on the way to it where nothing of the layers
    /// below is left to show.
    fn merged(&mut self, path: &[u8]) -> io::Result<Rc<Merged>> {
        let mut names = path.split(|b| *b == b'/').filter(|name| !name.is_empty());
        let mut rest = names.clone();
        let walked = |level: &&Level| {
            let same = names.next() == Some(&*level.name);
            same.then(|| rest.next());
            same
        };
        let walked = self.way.iter().take_while(walked).count();
        self.way.truncate(walked);
        let mut kept: usize = self.way.iter().map(|level| level.merged.count()).sum();
        let last = self.way.last().map(|level| &level.merged);
        let mut here = Rc::clone(last.unwrap_or(&self.roots));
        for name in rest {
            if here.below.is_empty() {
                break;
            }
            here = Rc::new(here.step(name)?);
            kept += here.count();
            if kept <= KEPT {
                let (name, merged) = (name.to_vec(), Rc::clone(&here));
                self.way.push(Level { name, merged });
            }
        }
        Ok(here)
    }
}

impl Merged {
    /// Returns what the overlay shows at `name` in this directory.
    fn step(&self, name: &[u8]) -> io::Result<Self> {
        let mut there = Self::default();
        let own = self.own.iter().map(|dir| (dir, true));
        let below = self.below.iter().map(|dir| (dir, false));
        let mut dirs = own.chain(below).peekable();
        while let Some((dir, is_own)) = dirs.next() {
            let dir = match open(dir.as_fd(), name) {
                Err(Errno::NOENT) => continue,
                // A whiteout, too, is no directory: what lies below does not show.
                Err(Errno::NOTDIR | Errno::LOOP) => break,
                other => other?,
            };
            let hides = dirs.peek().is_some() && is_opaque(dir.as_fd())?;
            if is_own {
                there.own = Some(dir);
            } else {
                there.below.push(dir);
            }
            if hides {
                break;
            }
        }
        Ok(there)
    }

    fn count(&self) -> usize {
        self.below.len() + usize::from(self.own.is_some())
    }
}

fn open(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn is_opaque(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let mut value = [0; 1];
    match rustix::fs::fgetxattr(dir, c"trusted.overlay.opaque", &mut value[..]) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
