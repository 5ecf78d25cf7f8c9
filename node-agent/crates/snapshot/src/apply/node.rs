//! Making what is no directory: files, symlinks, hard links, devices, fifos.

use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Applier;
use super::attributes::{Attributes, mode};
use super::error::{During, Failure, Refusal};
use super::name::{Place, join};
use super::tree::{Former, Parent, Spot, Tree, look};
use crate::archive::{ArchiveReader, Entry, EntryName, Extent, Kind};

/// Runs `make`; if something is in the way, removes that and runs it once more.
fn replacing<T>(
    tree: &mut Tree<'_>,
    spot: Spot<'_>,
    action: &'static str,
    make: impl Fn() -> Result<T, Errno>,
) -> Result<T, Failure> {
    let made = match make() {
        Err(Errno::EXIST) => {
            tree.vacate(spot.parent, spot.name)?;
            make()
        }
        other => other,
    };
    let made = made.during(action)?;
    tree.inodes += 1;
    Ok(made)
}

impl Applier<'_> {
    /// Makes a file and moves the entry's data into it.
    pub(super) fn file<R: BufRead>(
        &mut self,
        spot: Spot<'_>,
        entry: &Entry,
        attributes: &Attributes,
        data: &mut ArchiveReader<R>,
    ) -> Result<(), Failure> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let bits = mode(entry.mode & 0o777);
        let file = replacing(&mut self.tree, spot, "created", || {
            rustix::fs::openat(spot.parent, spot.name, flags, bits)
        })?;
        match &entry.extents {
            None => fill(&file, data)?,
            Some(extents) => fill_extents(&file, data, extents, entry.size)?,
        }
        attributes.set_on_file(file.as_fd(), self.umask)
    }

    pub(super) fn symlink(
        &mut self,
        spot: Spot<'_>,
        entry: &Entry,
        attributes: &Attributes,
    ) -> Result<(), Failure> {
        if entry.link.is_empty() {
            return Err(Refusal::NoTarget.into());
        }
        if entry.link.contains(&0) {
            return Err(Refusal::Nul.into());
        }
        replacing(&mut self.tree, spot, "created", || {
            rustix::fs::symlinkat(entry.link.as_slice(), spot.parent, spot.name)
        })?;
        attributes.set_on_node(spot.parent.as_fd(), spot.name, true, self.umask)
    }

    /// Makes a device or a fifo.
    pub(super) fn special(
        &mut self,
        spot: Spot<'_>,
        entry: &Entry,
        attributes: &Attributes,
    ) -> Result<(), Failure> {
        let (file_type, device) = match entry.kind {
            Kind::CharacterDevice { major, minor } => (FileType::CharacterDevice, (major, minor)),
            Kind::BlockDevice { major, minor } => (FileType::BlockDevice, (major, minor)),
            _ => (FileType::Fifo, (0, 0)),
        };
        let device = rustix::fs::makedev(device.0, device.1);
        let bits = mode(entry.mode & 0o777);
        replacing(&mut self.tree, spot, "created", || {
            rustix::fs::mknodat(spot.parent, spot.name, file_type, bits, device)
        })?;
        attributes.set_on_node(spot.parent.as_fd(), spot.name, false, self.umask)
    }

    /// Makes a hard link to what this layer has; what it has not is left for the commit, when the
    /// layers below are known, with an empty file as a placeholder.
    pub(super) fn hard_link(&mut self, spot: Spot<'_>, entry: &Entry) -> Result<(), Failure> {
        let refuse = |what| {
            let target = EntryName::new(&entry.link);
            Failure::from(Refusal::LinkTarget { target, what })
        };
        let (directory, name) = match Place::of(&entry.link)? {
            Place::At { parent, name } => (parent, name),
            Place::Root => return Err(refuse("a directory")),
            _ => return Err(refuse("a whiteout")),
        };
        let found = self.tree.find(&directory)?;
        let former = match &found {
            Some(parent) => look(parent.as_fd(), &name)?,
            None => Former::Nothing,
        };
        match (former, found) {
            (Former::Directory, _) => Err(refuse("a directory")),
            (Former::Whiteout, _) => Err(refuse("deleted in the same layer")),
            (Former::Other, Some(parent)) => self.link_to(spot, &parent, &name),
            _ => self.placeholder(spot, join(&directory, &name)),
        }
    }

    fn link_to(&mut self, spot: Spot<'_>, parent: &Parent, name: &[u8]) -> Result<(), Failure> {
        let link = || rustix::fs::linkat(parent, name, spot.parent, spot.name, AtFlags::empty());
        match link() {
            // Replacing a name by a link to itself would lose the file.
            Err(Errno::EXIST) if is_same(parent, name, spot)? => return Ok(()),
            Err(Errno::EXIST) => {
                self.tree.vacate(spot.parent, spot.name)?;
                link().during("linked")?;
            }
            other => other.during("linked")?,
        }
        // A link to a placeholder waits for the same file below.
        let waits = self.tree.links.get(&join(&parent.path, name)).cloned();
        waits.map_or(Ok(()), |target| self.tree.wait_for(spot, target))
    }

    fn placeholder(&mut self, spot: Spot<'_>, target: Vec<u8>) -> Result<(), Failure> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        replacing(&mut self.tree, spot, "created", || {
            rustix::fs::openat(spot.parent, spot.name, flags, Mode::RUSR)
        })?;
        self.tree.wait_for(spot, target)
    }
}

fn is_same(parent: &Parent, name: &[u8], spot: Spot<'_>) -> Result<bool, Failure> {
    let inode = |dir: &Parent, name: &[u8]| {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        Ok::<_, Failure>(stat.during("looked up")?.st_ino)
    };
    Ok(inode(parent, name)? == inode(spot.parent, spot.name)?)
}

/// Writes the entry's data straight out of the stream's buffers.
fn fill<R: BufRead>(file: &OwnedFd, data: &mut ArchiveReader<R>) -> Result<(), Failure> {
    loop {
        let piece = data.data()?;
        if piece.is_empty() {
            return Ok(());
        }
        let written = match rustix::io::write(file, piece) {
            Err(Errno::INTR) => 0,
            other => other.during("written")?,
        };
        data.consume(written);
    }
}

/// Writes each run of data where it belongs; the rest of the file stays a hole.
fn fill_extents<R: BufRead>(
    file: &OwnedFd,
    data: &mut ArchiveReader<R>,
    extents: &[Extent],
    size: u64,
) -> Result<(), Failure> {
    rustix::fs::ftruncate(file, size).during("written")?;
    for extent in extents {
        let (mut offset, mut left) = (extent.offset, extent.length);
        while left > 0 {
            let piece = data.data()?;
            let length = usize::try_from(left).map_or(piece.len(), |n| n.min(piece.len()));
            let written = match rustix::io::pwrite(file, &piece[..length], offset) {
                Err(Errno::INTR) => 0,
                other => other.during("written")?,
            };
            data.consume(written);
            offset += written as u64;
            left -= written as u64;
        }
    }
    Ok(())
}
