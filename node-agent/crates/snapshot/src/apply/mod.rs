//! Applying a layer's entries to a directory that nobody else sees yet.
//!
//! Owns: what each kind of entry becomes on disk, replacement of earlier entries, whiteouts in the
//! overlay's form, and what has to wait for the layers below: implied directories, links to them.
//! Every path is resolved inside the directory, one component at a time, by descriptor.
//! Does not parse archives and does not know other layers. Start reading at [`Applier::entry`].

pub(crate) mod attributes;
mod error;
mod name;
mod node;
mod tree;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::os::fd::AsFd;

use agent_sys::rootdir::RootDir;
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use self::attributes::{Attributes, set_opaque};
pub(crate) use self::error::ApplyError;
pub use self::error::Refusal;
use self::error::{During, Failure};
use self::name::Place;
use self::tree::{Former, Spot, Tree, look};
use crate::archive::{ArchiveError, ArchiveReader, Entry, Kind};
use crate::delete::Trash;
use crate::limits::{Limit, Limits};

/// What was made of an archive.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub inodes: u64,
    /// Directories that the archive does not describe, by canonical path.
    pub implied: Vec<Vec<u8>>,
    /// Empty files that stand for hard links to something the layer itself does not have: their
    /// canonical path, and what to look for in the layers below.
    pub links: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whether nothing of the layers below shows through the root.
    pub opaque: bool,
}

/// Applies entries one by one.
#[derive(Debug)]
pub(crate) struct Applier<'a> {
    tree: Tree<'a>,
    limits: &'a Limits,
    umask: u32,
    opaque: bool,
    entries: u64,
    bytes: u64,
}

/// Applies a whole archive below `root`, then reads the stream to its end.
pub(crate) fn apply<R: BufRead>(
    source: R,
    root: RootDir,
    trash: &Trash,
    limits: &Limits,
    umask: u32,
) -> Result<Applied, ApplyError> {
    let mut archive = ArchiveReader::new(source, limits.extended);
    let mut applier = Applier {
        tree: Tree::new(root, trash, limits),
        limits,
        umask,
        opaque: false,
        entries: 0,
        bytes: 0,
    };
    while let Some(mut entry) = archive.next()? {
        applier.count(&entry)?;
        applier
            .entry(&mut entry, &mut archive)
            .map_err(|failure| failure.of(&entry.name))?;
    }
    archive.drain().map_err(ArchiveError::Source)?;
    let implied = applier.tree.finish()?;
    Ok(Applied {
        inodes: applier.tree.inodes,
        implied,
        links: applier.tree.links,
        opaque: applier.opaque,
    })
}

impl Applier<'_> {
    fn count(&mut self, entry: &Entry) -> Result<(), Limit> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Limit::Entries {
                limit: self.limits.entries,
            });
        }
        self.bytes = self.bytes.saturating_add(entry.size);
        if self.bytes > self.limits.bytes {
            return Err(Limit::Bytes {
                limit: self.limits.bytes,
            });
        }
        Ok(())
    }

    fn entry<R: BufRead>(
        &mut self,
        entry: &mut Entry,
        data: &mut ArchiveReader<R>,
    ) -> Result<(), Failure> {
        match Place::of(&entry.name)? {
            Place::Ignored => Ok(()),
            Place::Root if entry.kind == Kind::Directory => {
                let attributes = Attributes::of(entry)?;
                self.tree.record(Vec::new(), Some(attributes))
            }
            Place::Root => Err(Refusal::Root.into()),
            Place::Whiteout { parent, name } => self.whiteout(&parent, &name),
            Place::Opaque { directory } => self.make_opaque(&directory),
            Place::At { parent, name } => {
                let parent = self.tree.parent(&parent)?;
                let spot = Spot {
                    parent: &parent,
                    name: &name,
                };
                self.make(spot, entry, data)
            }
        }
    }

    fn make<R: BufRead>(
        &mut self,
        spot: Spot<'_>,
        entry: &mut Entry,
        data: &mut ArchiveReader<R>,
    ) -> Result<(), Failure> {
        let attributes = Attributes::of(entry)?;
        match entry.kind {
            Kind::File => self.file(spot, entry, &attributes, data),
            Kind::Directory => self.tree.directory(spot.parent, spot.name, attributes),
            Kind::Symlink => self.symlink(spot, entry, &attributes),
            // The attributes are the file's, which its own entry gave.
            Kind::HardLink => self.hard_link(spot, entry),
            Kind::CharacterDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {
                self.special(spot, entry, &attributes)
            }
        }
    }

    /// Hides what the layers below have under this name; what this layer itself has stays.
    fn whiteout(&mut self, parent: &[u8], name: &[u8]) -> Result<(), Failure> {
        let parent = self.tree.parent(parent)?;
        let none = Mode::empty();
        match rustix::fs::mknodat(&*parent, name, FileType::CharacterDevice, none, 0) {
            Ok(()) => {
                self.tree.inodes += 1;
                Ok(())
            }
            Err(Errno::EXIST) => match look(parent.as_fd(), name)? {
                Former::Directory => set_opaque(parent.as_fd(), name),
                Former::Nothing | Former::Whiteout | Former::Other => Ok(()),
            },
            Err(errno) => Err(errno).during("made a whiteout"),
        }
    }

    fn make_opaque(&mut self, directory: &[u8]) -> Result<(), Failure> {
        if directory.is_empty() {
            self.opaque = true;
        }
        let directory = self.tree.parent(directory)?;
        set_opaque(directory.as_fd(), b".")
    }
}
