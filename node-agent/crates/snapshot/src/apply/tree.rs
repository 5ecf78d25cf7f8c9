//! The directories of a layer in the making: finding, making and replacing them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use agent_sys::rootdir::{self, OnMissing, RootDir};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{Attributes, mode, set_opaque};
use super::error::{ApplyError, During, Failure, Refusal};
use super::name::join;
use crate::archive::EntryName;
use crate::delete::Trash;
use crate::limits::{Limit, Limits};

/// Parents kept open.
const CACHED: usize = 64;

/// A directory that entries are made in.
#[derive(Debug)]
pub(super) struct Parent {
    dir: OwnedFd,
    /// Where it really is, from the layer's root, without symlinks.
    pub(super) path: Vec<u8>,
}

impl AsFd for Parent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Where an entry goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot<'a> {
    pub parent: &'a Parent,
    pub name: &'a [u8],
}

/// What was in the way of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Former {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

/// The layer's directories. Their attributes are set last: a directory with its final owner, set-id
/// bit or default ACL would pass them on to what is made in it, and each new entry changes its time.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    root: RootDir,
    trash: &'a Trash,
    limits: &'a Limits,
    open: HashMap<Vec<u8>, Rc<Parent>>,
    /// By canonical path; `None` for those that the archive only implies.
    attributes: BTreeMap<Vec<u8>, Option<Attributes>>,
    /// Placeholders by canonical path, with what they wait for.
    pub(super) links: BTreeMap<Vec<u8>, Vec<u8>>,
    weight: usize,
    /// Inodes made and still there, the root among them.
    pub(super) inodes: u64,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: RootDir, trash: &'a Trash, limits: &'a Limits) -> Self {
        Self {
            root,
            trash,
            limits,
            open: HashMap::new(),
            attributes: BTreeMap::from([(Vec::new(), None)]),
            links: BTreeMap::new(),
            weight: 0,
            inodes: 1,
        }
    }

    /// Returns the directory that `path` leads to, making what is missing on the way.
    pub(super) fn parent(&mut self, path: &[u8]) -> Result<Rc<Parent>, Failure> {
        if let Some(parent) = self.open.get(path) {
            return Ok(Rc::clone(parent));
        }
        let parent = match self.root.open_plain(path, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(dir) => Parent {
                dir,
                path: path.to_vec(),
            },
            // Missing, or not as plain as it looks.
            Err(_) => self.walk(path)?,
        };
        Ok(self.keep(path, parent))
    }

    /// Returns the directory that `path` leads to, if there is one.
    pub(super) fn find(&mut self, path: &[u8]) -> Result<Option<Rc<Parent>>, Failure> {
        if let Some(parent) = self.open.get(path) {
            return Ok(Some(Rc::clone(parent)));
        }
        let stop = |_: BorrowedFd<'_>, _: &[u8], _: &[u8]| Ok::<_, Failure>(OnMissing::Stop);
        let walked = self.root.walk(path, stop).map_err(too_many_links)?;
        Ok(walked.map(|found| {
            self.keep(
                path,
                Parent {
                    dir: found.dir,
                    path: found.path,
                },
            )
        }))
    }

    fn keep(&mut self, path: &[u8], parent: Parent) -> Rc<Parent> {
        if self.open.len() >= CACHED {
            self.open.clear();
        }
        let parent = Rc::new(parent);
        self.open.insert(path.to_vec(), Rc::clone(&parent));
        parent
    }

    fn walk(&mut self, path: &[u8]) -> Result<Parent, Failure> {
        let mut implied = Vec::new();
        let make = |dir: BorrowedFd<'_>, name: &[u8], there: &[u8]| -> Result<_, Failure> {
            let hidden = match look(dir, name)? {
                Former::Nothing => false,
                Former::Whiteout => {
                    rustix::fs::unlinkat(dir, name, AtFlags::empty()).during("replaced")?;
                    true
                }
                Former::Directory | Former::Other => {
                    let parent = EntryName::new(there);
                    return Err(Refusal::Parent { parent }.into());
                }
            };
            make_directory(dir, name, hidden)?;
            implied.push((there.to_vec(), hidden));
            Ok(OnMissing::Made)
        };
        let walked = self.root.walk(path, make).map_err(too_many_links);
        for (path, hidden) in implied {
            self.inodes += u64::from(!hidden);
            self.record(path, None)?;
        }
        match walked? {
            Some(found) => Ok(Parent {
                dir: found.dir,
                path: found.path,
            }),
            None => Err(Failure::Io("reached", Errno::NOENT.into())),
        }
    }

    /// Makes `name` in `parent` a directory with these attributes, or gives them to the one there.
    pub(super) fn directory(
        &mut self,
        parent: &Parent,
        name: &[u8],
        attributes: Attributes,
    ) -> Result<(), Failure> {
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => self.inodes += 1,
            Err(Errno::EXIST) => {
                let former = look(parent.as_fd(), name)?;
                if former != Former::Directory {
                    self.vacate(parent, name)?;
                    make_directory(parent.as_fd(), name, former == Former::Whiteout)?;
                    self.inodes += 1;
                }
            }
            Err(errno) => return Err(errno).during("created"),
        }
        self.record(join(&parent.path, name), Some(attributes))
    }

    /// Notes attributes for the end, the root's under the empty path.
    pub(super) fn record(
        &mut self,
        path: Vec<u8>,
        attributes: Option<Attributes>,
    ) -> Result<(), Failure> {
        if let Some(former) = self.attributes.get(&path) {
            self.weight = self.weight.saturating_sub(weigh(&path, former.as_ref()));
        }
        self.charge(weigh(&path, attributes.as_ref()))?;
        self.attributes.insert(path, attributes);
        Ok(())
    }

    /// Counts memory that is held until the end.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Failure> {
        self.weight += bytes;
        let limit = self.limits.directories;
        if self.weight > limit {
            return Err(Limit::Directories { limit }.into());
        }
        Ok(())
    }

    /// Removes whatever is called `name` in `parent`.
    pub(super) fn vacate(&mut self, parent: &Parent, name: &[u8]) -> Result<(), Failure> {
        let former = look(parent.as_fd(), name)?;
        if former == Former::Directory {
            let trashed = self.trash.take(parent.as_fd(), name).during("replaced")?;
            let deleted = self.trash.delete(&trashed).during("replaced")?;
            self.inodes = self.inodes.saturating_sub(deleted);
        } else if former != Former::Nothing {
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
            let last_name = stat.during("replaced")?.st_nlink == 1;
            rustix::fs::unlinkat(parent, name, AtFlags::empty()).during("replaced")?;
            self.inodes = self.inodes.saturating_sub(last_name.into());
        }
        self.forget(&join(&parent.path, name));
        // Ways that led through what is gone lead elsewhere now.
        self.open.clear();
        Ok(())
    }

    /// Notes a placeholder for a hard link to `target`, which the layers below have.
    pub(super) fn wait_for(&mut self, spot: Spot<'_>, target: Vec<u8>) -> Result<(), Failure> {
        let path = join(&spot.parent.path, spot.name);
        self.charge(path.len() + target.len() + 160)?;
        self.links.insert(path, target);
        Ok(())
    }

    /// Drops what was noted for a path and all below it. By path, as the inode that is freed may
    /// well be the next one's.
    fn forget(&mut self, path: &[u8]) {
        for gone in subtree(&self.attributes, path) {
            if let Some(former) = self.attributes.remove(&gone) {
                self.weight = self.weight.saturating_sub(weigh(&gone, former.as_ref()));
            }
        }
        for gone in subtree(&self.links, path) {
            self.links.remove(&gone);
        }
    }

    /// Sets the attributes of all directories; returns the implied ones.
    pub(super) fn finish(&mut self) -> Result<Vec<Vec<u8>>, ApplyError> {
        let mut implied = Vec::new();
        for (path, attributes) in std::mem::take(&mut self.attributes) {
            let dir = self
                .root
                .open_plain(&path, OFlags::RDONLY | OFlags::DIRECTORY)
                .during("opened again")
                .map_err(|failure| failure.of(&path))?;
            let set = match &attributes {
                Some(attributes) => attributes.set_on_directory(dir.as_fd()),
                None => rustix::fs::fchmod(&dir, mode(0o755)).during("given its mode"),
            };
            set.map_err(|failure| failure.of(&path))?;
            if attributes.is_none() {
                implied.push(path);
            }
        }
        Ok(implied)
    }
}

/// Returns the keys that are `path` or lie below it.
fn subtree<T>(map: &BTreeMap<Vec<u8>, T>, path: &[u8]) -> Vec<Vec<u8>> {
    let below = join(path, b"");
    let children = map.range(below.clone()..).map(|(child, _)| child);
    let mut keys: Vec<_> = children
        .take_while(|child| child.starts_with(&below))
        .cloned()
        .collect();
    keys.extend(map.contains_key(path).then(|| path.to_vec()));
    keys
}

/// Says what is called `name` in `dir`.
pub(super) fn look(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Former, Failure> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(Former::Nothing),
        Err(errno) => Err(errno).during("looked up"),
        Ok(stat) if rootdir::is_whiteout(&stat) => Ok(Former::Whiteout),
        Ok(stat) => Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Former::Directory,
            _ => Former::Other,
        }),
    }
}

/// Makes a directory; where this layer has a whiteout of the name, what lies below stays hidden.
fn make_directory(dir: BorrowedFd<'_>, name: &[u8], hidden: bool) -> Result<(), Failure> {
    rustix::fs::mkdirat(dir, name, Mode::RWXU).during("created")?;
    if hidden {
        set_opaque(dir, name)
    } else {
        Ok(())
    }
}

fn weigh(path: &[u8], attributes: Option<&Attributes>) -> usize {
    path.len() + 160 + attributes.map_or(0, Attributes::weight)
}

fn too_many_links(failure: Failure) -> Failure {
    match failure {
        Failure::Io(_, error) if is_loop(&error) => Refusal::Loop.into(),
        other => other,
    }
}

fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}
