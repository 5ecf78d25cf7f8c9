//! One container's cgroup.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use crate::error::{CgroupError, RemoveError, UpdateError};
use crate::limits::{self, Limits};
use crate::stats::{self, HugetlbStats, Meter, Stats};
use crate::tree::Inner;
use crate::{CgroupPath, kill, remove};

/// A container's cgroup, in every hierarchy. Holds no descriptor, so that thousands cost nothing;
/// cheap to clone.
#[derive(Debug, Clone)]
pub struct Cgroup {
    tree: Arc<Inner>,
    path: CgroupPath,
}

impl Cgroup {
    pub(crate) fn new(tree: Arc<Inner>, path: CgroupPath) -> Self {
        Self { tree, path }
    }

    /// Returns its path below every hierarchy's mount point.
    #[must_use]
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// Opens its directories: on v1 memory's first, then those of the other hierarchies, named
    /// ones last; on v2 the only one.
    pub fn attach_directories(&self) -> Result<Vec<OwnedFd>, CgroupError> {
        directories(&self.tree, &self.path).map_err(|source| match source {
            Errno::NOENT => CgroupError::NotFound {
                path: self.path.clone(),
            },
            source => CgroupError::Read {
                path: self.path.clone(),
                file: "directory",
                source,
            },
        })
    }

    /// Changes limits; when the kernel refuses one, those written before it are put back.
    pub fn update(&self, limits: &Limits) -> Result<(), UpdateError> {
        limits::update(&self.tree, &self.path, limits)
    }

    /// Returns the limits in force.
    pub fn actual(&self) -> Result<Limits, CgroupError> {
        limits::actual(&self.tree, &self.path)
    }

    /// Returns the limits in force in the words of who asked for them: a limit that nobody asked
    /// for and that limits nothing is left out.
    pub fn in_force(&self, asked: &Limits) -> Result<Limits, CgroupError> {
        limits::in_force(&self.tree, &self.path, asked)
    }

    /// Returns what it used so far.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        self.meter()?.read()
    }

    /// Returns the huge pages in use, of each size that the machine has; none without the controller.
    pub fn hugetlb(&self) -> Result<Vec<HugetlbStats>, CgroupError> {
        stats::hugetlb(&self.tree, &self.path)
    }

    /// Opens the files that say what it uses, for many readings.
    pub fn meter(&self) -> Result<Meter, CgroupError> {
        Meter::open(&self.tree, &self.path)
    }

    /// Returns the processes in it and below it.
    pub fn processes(&self) -> Result<Vec<u32>, CgroupError> {
        let hierarchies = self.tree.hierarchies();
        // One that is half removed may be left in a later hierarchy only.
        let there = hierarchies.iter().find(|h| h.contains(&self.path));
        there.map_or_else(
            || Ok(Vec::new()),
            |hierarchy| kill::processes(hierarchy, &self.path),
        )
    }

    /// Sends SIGKILL to every process in it and below it, also to those being forked; does not
    /// wait for them to end. A cgroup that is gone is fine.
    pub fn kill(&self) -> Result<(), CgroupError> {
        kill::kill(&self.tree, &self.path)
    }

    /// Stops every process in it and below it, and returns once they are stopped.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        kill::freeze(&self.tree, &self.path)
    }

    /// Lets stopped processes go on.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        kill::thaw(&self.tree, &self.path)
    }

    /// Removes it and what is below it; kills what still runs there and waits for it up to five
    /// seconds. One that is gone is fine.
    pub fn remove(&self) -> Result<(), RemoveError> {
        remove::remove(&self.tree, &self.path)
    }
}

/// Opens a cgroup's directory in every hierarchy, in their order.
pub(crate) fn directories(tree: &Inner, path: &CgroupPath) -> Result<Vec<OwnedFd>, Errno> {
    tree.hierarchies()
        .iter()
        .map(|h| h.directory(path))
        .collect()
}
