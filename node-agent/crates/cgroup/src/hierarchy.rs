//! Which hierarchies the machine has: found once, kept as open directories.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cgroups_rs::fs::hierarchies;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::OpenError;
use crate::{CgroupPath, file};

/// Version of the cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// One tree a controller, or a few controllers together.
    V1,
    /// One tree for all.
    V2,
}

impl Version {
    /// Returns 1 or 2.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// One mounted tree of cgroups.
#[derive(Debug)]
pub struct Hierarchy {
    controllers: Vec<String>,
    mount_point: PathBuf,
    root: OwnedFd,
}

impl Hierarchy {
    /// Opens the tree mounted at `mount_point`.
    pub(crate) fn open(controllers: Vec<String>, mount_point: &Path) -> Result<Self, OpenError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(mount_point, flags, Mode::empty()).map_err(|source| {
            OpenError::Mount {
                mount_point: mount_point.display().to_string(),
                source,
            }
        })?;
        Ok(Self {
            controllers,
            mount_point: mount_point.to_owned(),
            root,
        })
    }

    /// Returns the controllers it carries; a named hierarchy has `name=...` only.
    #[must_use]
    pub fn controllers(&self) -> &[String] {
        &self.controllers
    }

    /// Returns where it is mounted.
    #[must_use]
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Says whether it carries `controller`.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    /// Returns the name used in messages and records: its first controller.
    #[must_use]
    pub fn name(&self) -> &str {
        self.controllers.first().map_or("unified", String::as_str)
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Returns the absolute path of a cgroup's directory, which `cgroups-rs` wants.
    pub(crate) fn absolute(&self, path: &CgroupPath) -> PathBuf {
        self.mount_point.join(path.relative())
    }

    /// Opens a cgroup's directory.
    pub(crate) fn directory(&self, path: &CgroupPath) -> Result<OwnedFd, Errno> {
        file::open_directory(self.root(), path.relative())
    }

    /// Says whether the cgroup exists here.
    pub(crate) fn contains(&self, path: &CgroupPath) -> bool {
        rustix::fs::accessat(
            self.root(),
            path.relative(),
            rustix::fs::Access::EXISTS,
            rustix::fs::AtFlags::empty(),
        )
        .is_ok()
    }
}

/// Finds what is mounted: v2 at the usual place, else every v1 hierarchy.
pub(crate) fn detect() -> Result<(Version, Vec<Hierarchy>), OpenError> {
    if hierarchies::is_cgroup2_unified_mode() {
        let mount_point = Path::new(hierarchies::UNIFIED_MOUNTPOINT);
        return Ok((Version::V2, vec![open_unified(mount_point)?]));
    }
    let known = std::fs::read_to_string("/proc/cgroups")
        .map_err(|source| OpenError::Controllers { source })?;
    let known = controllers_of_kernel(&known);
    let mut found: Vec<(Vec<String>, PathBuf)> = Vec::new();
    for mount in hierarchies::mountinfo_self() {
        let controllers = controllers_of_mount(&mount.super_opts, &known);
        let seen = found.iter().any(|(names, _)| *names == controllers);
        if !controllers.is_empty() && !seen {
            found.push((controllers, mount.mount_point));
        }
    }
    if found.is_empty() {
        return Err(OpenError::NoHierarchy);
    }
    found.sort_by_key(|(controllers, _)| attach_rank(controllers));
    let opened: Result<Vec<_>, _> = found
        .into_iter()
        .map(|(controllers, mount_point)| Hierarchy::open(controllers, &mount_point))
        .collect();
    Ok((Version::V1, opened?))
}

/// Opens the tree that systemd keeps its units in where the controllers have trees of v1: one of
/// v2 without controllers. A process that is not in it is in no unit. `None`: systemd has a named
/// tree of v1, or there is no systemd.
pub(crate) fn beside_v1() -> Option<Result<Hierarchy, OpenError>> {
    let mount_point = Path::new(hierarchies::UNIFIED_MOUNTPOINT).join("unified");
    let there = mount_point.join("cgroup.controllers").exists();
    there.then(|| Hierarchy::open(Vec::new(), &mount_point))
}

/// Opens a cgroup2 mount with the controllers it offers.
pub(crate) fn open_unified(mount_point: &Path) -> Result<Hierarchy, OpenError> {
    let controllers = std::fs::read_to_string(mount_point.join("cgroup.controllers"))
        .map_err(|source| OpenError::Controllers { source })?;
    let controllers = controllers.split_whitespace().map(str::to_owned).collect();
    Hierarchy::open(controllers, mount_point)
}

/// Memory first, because the child attaches there before it allocates anything that should be
/// charged; named hierarchies last.
fn attach_rank(controllers: &[String]) -> u8 {
    let has = |name: &str| controllers.iter().any(|c| c == name);
    match () {
        () if has("memory") => 0,
        () if controllers.iter().any(|c| c.starts_with("name=")) => 2,
        () => 1,
    }
}

/// Parses `/proc/cgroups`: a header, then a line for each controller.
fn controllers_of_kernel(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

/// Picks the controllers, and the name, out of a mount's options.
fn controllers_of_mount(options: &[String], known: &[&str]) -> Vec<String> {
    options
        .iter()
        .filter(|option| known.contains(&option.as_str()) || option.starts_with("name="))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn joint_separate_and_named_hierarchies_are_told_apart() {
        let known = controllers_of_kernel(
            "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\ncpuacct\t2\t1\t1\nmemory\t4\t9\t1\n",
        );
        assert_eq!(known, ["cpu", "cpuacct", "memory"]);
        assert_eq!(
            controllers_of_mount(&options("rw,cpu,cpuacct"), &known),
            ["cpu", "cpuacct"]
        );
        assert_eq!(
            controllers_of_mount(&options("rw,xattr,release_agent=/x,name=systemd"), &known),
            ["name=systemd"]
        );
        assert!(controllers_of_mount(&options("rw,clone_children"), &known).is_empty());
    }

    #[test]
    fn memory_comes_first_and_names_last() {
        let mut all = [
            options("name=systemd"),
            options("cpu"),
            options("memory"),
            options("pids"),
        ];
        all.sort_by_key(|c| attach_rank(c));
        assert_eq!(all[0], ["memory"]);
        assert_eq!(all[3], ["name=systemd"]);
    }

    #[test]
    fn this_machine_has_hierarchies() {
        let (version, found) = detect().unwrap();
        assert!(!found.is_empty());
        match version {
            Version::V1 => assert!(found[0].has("memory"), "{found:?}"),
            Version::V2 => assert_eq!(found.len(), 1),
        }
    }
}
