//! Paths that a container may not see, or may not write.
//!
//! Applied after the pivot, on descriptors. What hides a file is the null device itself, looked at before it is used.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use agent_sys::mount::{self, Change, Depth, FilesystemOption, new_filesystem};
use rustix::fs::{FileType, OFlags};
use rustix::mount::MountAttrFlags;

use super::Step;
use super::devices::open_null;
use super::in_root::{InRoot, type_of};
use super::labels;
use super::root::copy_of_error;
use crate::failure::Failure;

/// Hides each path that exists: a file behind the null device, a directory behind an empty one.
pub(super) fn hide(root: InRoot<'_>, paths: &[String], label: Option<&str>) -> Step<()> {
    let mut sources = Sources {
        label,
        ..Sources::default()
    };
    for path in paths {
        let Some(target) = existing(root, path)? else {
            continue;
        };
        let failed = |error| Failure::io("mask", path, error);
        let source = match type_of(target.as_fd()).map_err(failed)? {
            FileType::Directory => sources.empty_directory(path)?,
            _ => sources.null(root, path)?,
        };
        mount::attach(source.as_fd(), target.as_fd()).map_err(failed)?;
        sources.attached(source);
    }
    Ok(())
}

/// Makes each path that exists read-only, with what is mounted below it.
pub(super) fn make_read_only(root: InRoot<'_>, paths: &[String]) -> Step<()> {
    let read_only = Change::set(MountAttrFlags::MOUNT_ATTR_RDONLY);
    for path in paths {
        let Some(target) = existing(root, path)? else {
            continue;
        };
        let failed = |error| Failure::io("make read-only", path, error);
        let copy = mount::copy_of(target.as_fd(), Depth::Tree).map_err(failed)?;
        mount::change(copy.as_fd(), &read_only, Depth::Tree).map_err(failed)?;
        mount::attach(copy.as_fd(), target.as_fd()).map_err(failed)?;
    }
    Ok(())
}

/// Opens what a path leads to; `None` if nothing is there.
fn existing(root: InRoot<'_>, path: &str) -> Step<Option<OwnedFd>> {
    match root.open(Path::new(path), OFlags::PATH) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // A part of the path is a file: the path leads nowhere.
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(Failure::io("open", path, error)),
    }
}

/// What paths are hidden behind. One empty directory serves all: it is copied once it is attached.
#[derive(Default)]
struct Sources<'a> {
    /// SELinux label of the empty directory.
    label: Option<&'a str>,
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
    fresh_empty: bool,
}

impl Sources<'_> {
    fn null(&mut self, root: InRoot<'_>, path: &str) -> Step<OwnedFd> {
        let null = match &self.null {
            Some(null) => null,
            None => self.null.insert(open_null(root, OFlags::PATH)?),
        };
        copy(null.as_fd(), path)
    }

    fn empty_directory(&mut self, path: &str) -> Step<OwnedFd> {
        if let Some(empty) = &self.empty {
            return copy(empty.as_fd(), path);
        }
        self.fresh_empty = true;
        let options = [
            FilesystemOption::Value("mode", "755"),
            FilesystemOption::Value("size", "0"),
        ];
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let options = options.into_iter().chain(labels::option(self.label));
        new_filesystem("tmpfs", options, attributes)
            .map_err(|error| Failure::io("mask", path, copy_of_error(error.io())))
    }

    /// Notes that a source is attached now.
    fn attached(&mut self, source: OwnedFd) {
        if self.fresh_empty {
            self.fresh_empty = false;
            self.empty = Some(source);
        }
    }
}

fn copy(source: BorrowedFd<'_>, path: &str) -> Step<OwnedFd> {
    mount::copy_of(source, Depth::One).map_err(|error| Failure::io("mask", path, error))
}
