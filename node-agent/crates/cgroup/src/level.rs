//! Making one directory in every hierarchy, with what the kernel does not inherit.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::Mode;
use rustix::io::Errno;

use crate::error::CreateError;
use crate::tree::Inner;
use crate::{CgroupPath, Hierarchy, Version, file};

/// Whether a directory was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Now,
    Before,
}

/// Makes `path` in one hierarchy; its parent must exist there.
pub(crate) fn make(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Made, CreateError> {
    let mode = Mode::from_raw_mode(0o755);
    match rustix::fs::mkdirat(hierarchy.root(), path.relative(), mode) {
        Ok(()) => Ok(Made::Now),
        Err(Errno::EXIST) => Ok(Made::Before),
        Err(source) => Err(CreateError::Directory {
            path: path.clone(),
            hierarchy: hierarchy.name().to_owned(),
            source,
        }),
    }
}

/// Makes a directory usable: processors and memory nodes on v1. On v2 those of the level above hold.
pub(crate) fn prepare(
    tree: &Inner,
    hierarchy: &Hierarchy,
    path: &CgroupPath,
) -> Result<(), CreateError> {
    if tree.version() == Version::V2 || !hierarchy.has("cpuset") {
        return Ok(());
    }
    let failed = |source| CreateError::File {
        path: path.clone(),
        file: "cpuset.cpus",
        source,
    };
    let directory = hierarchy.directory(path).map_err(failed)?;
    if !is_empty(directory.as_fd(), "cpuset.cpus").map_err(failed)? {
        return Ok(());
    }
    fill_cpuset(hierarchy, path, directory).map_err(failed)
}

fn is_empty(directory: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
    Ok(file::read(directory, name)?.trim().is_empty())
}

/// Copies processors and nodes from the level above, filling that one first if it has none.
///
/// A v1 cgroup without them takes no process. `clone_children` is set as well, so that levels
/// made below this one are born with them.
fn fill_cpuset(hierarchy: &Hierarchy, path: &CgroupPath, directory: OwnedFd) -> Result<(), Errno> {
    let above = match path.parent() {
        Some(parent) => {
            let above = hierarchy.directory(&parent)?;
            if is_empty(above.as_fd(), "cpuset.cpus")? {
                fill_cpuset(hierarchy, &parent, hierarchy.directory(&parent)?)?;
            }
            above
        }
        None => file::open_directory(hierarchy.root(), ".")?,
    };
    for name in ["cpuset.cpus", "cpuset.mems"] {
        if is_empty(directory.as_fd(), name)? {
            let value = file::read(above.as_fd(), name)?;
            file::write(directory.as_fd(), name, value.trim())?;
        }
    }
    file::write(directory.as_fd(), "cgroup.clone_children", "1")
}

/// Passes the controllers on to the levels below `path`, on v2; `None` is the root.
///
/// Each is enabled alone when not all together can be: one that the kernel refuses here (a CPU
/// controller beside real-time processes) must not take the others with it.
pub(crate) fn enable_controllers(tree: &Inner, path: Option<&CgroupPath>) {
    if tree.version() == Version::V1 {
        return;
    }
    let hierarchy = tree.hierarchy("");
    let name = path.map_or_else(
        || "cgroup.subtree_control".to_owned(),
        |path| format!("{}/cgroup.subtree_control", path.relative()),
    );
    let enabled = file::read(hierarchy.root(), &name).unwrap_or_default();
    let missing: Vec<_> = hierarchy
        .controllers()
        .iter()
        .filter(|wanted| !enabled.split_whitespace().any(|there| there == *wanted))
        .map(|controller| format!("+{controller}"))
        .collect();
    if missing.is_empty() || file::write(hierarchy.root(), &name, &missing.join(" ")).is_ok() {
        return;
    }
    for controller in missing {
        if let Err(errno) = file::write(hierarchy.root(), &name, &controller) {
            tracing::debug!(path = name, controller, error = %errno, "controller not passed on");
        }
    }
}
