//! Directories that an image wants to be volumes: there, and writable, whatever the root is.

use std::os::fd::AsFd;
use std::path::Path;

use agent_sys::mount::{self, Depth};
use rustix::fs::FileType;

use super::Step;
use super::in_root::{InRoot, Last, type_of};
use crate::failure::{Failure, FailureKind};

/// Makes the directories in a root that nothing else is mounted in yet.
///
/// Where the root will refuse writes, each gets a mount of its own, which does not.
pub(super) fn make(root: InRoot<'_>, volumes: &[String], read_only: bool) -> Step<()> {
    for path in volumes {
        make_one(root, Path::new(path), read_only)?;
    }
    Ok(())
}

fn make_one(root: InRoot<'_>, path: &Path, read_only: bool) -> Step<()> {
    let shown = || format!("the image's volume {}", path.display());
    let failed =
        |error: std::io::Error| Failure::io("make", shown(), error).of_kind(FailureKind::Invalid);
    let directory = root.ensure(path, Last::Directory).map_err(failed)?;
    if type_of(directory.as_fd()).map_err(failed)? != FileType::Directory {
        return Err(Failure::invalid("make", shown(), "it is not a directory"));
    }
    if !read_only {
        return Ok(());
    }
    let copy = mount::copy_of(directory.as_fd(), Depth::One).map_err(failed)?;
    mount::attach(copy.as_fd(), directory.as_fd()).map_err(failed)
}
