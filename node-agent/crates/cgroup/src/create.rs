//! Making a container's cgroup.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;

use crate::error::{CgroupError, CreateError, UpdateError};
use crate::limits::{self, Limits};
use crate::systemd::Hold;
use crate::tree::{CgroupTree, Inner};
use crate::{Cgroup, CgroupPath, DeviceRules, Hierarchy, Version, level, remove};

/// A cgroup that was just made and has no process yet.
#[derive(Debug)]
#[must_use = "a scope of systemd's ends when this is dropped and no process is in it"]
pub struct Made {
    cgroup: Cgroup,
    hold: Option<Hold>,
    /// The limit of processes, where it waits for the hold's end.
    later: Option<i64>,
}

impl Made {
    /// Opens its directories, as [`Cgroup::attach_directories`] does.
    pub fn attach_directories(&self) -> Result<Vec<OwnedFd>, CgroupError> {
        self.cgroup.attach_directories()
    }

    /// Says whether [`settle`](Self::settle) has anything to do, and may block.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Ends what held it, now that the container's first process is in it. Blocks where it was held.
    pub fn settle(self) -> Result<Cgroup, UpdateError> {
        drop(self.hold);
        if let Some(pids) = self.later {
            self.cgroup.update(&Limits {
                pids: Some(pids),
                ..Limits::default()
            })?;
        }
        Ok(self.cgroup)
    }
}

/// A container's cgroup that lacks its device rules; what was made is removed when it is dropped.
#[derive(Debug)]
#[must_use = "it is removed when this is dropped"]
pub struct Begun {
    tree: CgroupTree,
    path: CgroupPath,
    limits: Limits,
    /// In how many of the hierarchies it was made.
    made: usize,
}

impl CgroupTree {
    /// Makes a container's cgroup with its limits and device rules, or nothing.
    ///
    /// An empty cgroup that a crash left under this name is replaced.
    pub fn create(
        &self,
        path: &CgroupPath,
        limits: &Limits,
        devices: &DeviceRules,
    ) -> Result<Made, CreateError> {
        self.begin(path, limits)?.finish(devices)
    }

    /// Makes what of a container's cgroup can be made before its device rules are known: on a tree
    /// of systemd's nothing, elsewhere the directories with the limits.
    ///
    /// An empty cgroup that a crash left under this name is replaced.
    pub fn begin(&self, path: &CgroupPath, limits: &Limits) -> Result<Begun, CreateError> {
        let tree = self.inner();
        limits::check(limits, tree.machine(), 0).map_err(|source| CreateError::Limit {
            path: path.clone(),
            source,
        })?;
        let mut begun = Begun {
            tree: self.clone(),
            path: path.clone(),
            limits: limits.clone(),
            made: 0,
        };
        if tree.systemd().is_none() {
            begun.make(limits)?;
        }
        Ok(begun)
    }

    /// As [`begin`](Self::begin); where somebody has taken the pod's own cgroup away and it lies
    /// below the parent, it is made again with the pod's limits. While it has no container it is
    /// empty, and anybody may.
    pub fn begin_in_pod(
        &self,
        path: &CgroupPath,
        limits: &Limits,
        of_pod: &Limits,
    ) -> Result<Begun, CreateError> {
        let above = path.parent();
        let ours = |pod: &CgroupPath| pod != self.parent() && pod.is_within(self.parent());
        match (self.begin(path, limits), above.filter(ours)) {
            (
                Err(CreateError::Directory {
                    source: Errno::NOENT,
                    ..
                }),
                Some(pod),
            ) => {
                tracing::warn!(
                    path = pod.as_str(),
                    "cgroup of a pod was removed by others and is made again"
                );
                let made = self.create_pod(&pod)?;
                if !of_pod.is_empty() {
                    let set = self.update_pod(&made, of_pod);
                    set.map_err(|source| CreateError::Apply {
                        path: pod,
                        source: Box::new(source),
                    })?;
                }
                self.begin(path, limits)
            }
            (begun, _) => begun,
        }
    }
}

impl Begun {
    /// Completes it with its device rules, or removes it.
    pub fn finish(mut self, devices: &DeviceRules) -> Result<Made, CreateError> {
        let hold = self.start_scope(devices)?;
        // Where that fails, the scope goes with its last process, before the directories do.
        let hold = self.fill(hold, devices)?;
        self.made = 0;
        Ok(Made {
            later: self.limits.pids.filter(|_| hold.is_some()),
            cgroup: Cgroup::new(Arc::clone(self.tree.inner()), self.path.clone()),
            hold,
        })
    }

    /// Has systemd make the cgroup, where it is who does.
    fn start_scope(&self, devices: &DeviceRules) -> Result<Option<Hold>, CreateError> {
        let tree = self.tree.inner();
        let Some(systemd) = tree.systemd() else {
            return Ok(None);
        };
        let started = systemd.start_scope(tree, &self.path, &self.limits, devices);
        started.map(Some).map_err(|source| CreateError::Systemd {
            path: self.path.clone(),
            source,
        })
    }

    fn fill(
        &mut self,
        hold: Option<Hold>,
        devices: &DeviceRules,
    ) -> Result<Option<Hold>, CreateError> {
        if hold.is_some() {
            // The stand-in counts as a process until the container's is there.
            let at_first = Limits {
                pids: None,
                ..self.limits.clone()
            };
            self.make(&at_first)?;
        }
        self.set_devices(devices)
            .map_err(|source| CreateError::Devices {
                path: self.path.clone(),
                source,
            })?;
        Ok(hold)
    }

    /// Makes the directories, counting them, then writes the limits.
    fn make(&mut self, limits: &Limits) -> Result<(), CreateError> {
        let (tree, path) = (self.tree.inner(), &self.path);
        for hierarchy in tree.hierarchies() {
            make_levels_above(tree, hierarchy, path)?;
            let there = level::make(hierarchy, path)? == level::Made::Before;
            // A scope was just made, in some of the hierarchies.
            if there && tree.systemd().is_none() {
                replace(hierarchy, path)?;
            }
            self.made += 1;
            if limits.cpuset_cpus.is_none() || limits.cpuset_mems.is_none() {
                level::prepare(tree, hierarchy, path)?;
            }
        }
        limits::apply(tree, path, limits, &Limits::default()).map_err(|source| CreateError::Apply {
            path: path.clone(),
            source: Box::new(source),
        })
    }

    fn set_devices(&self, devices: &DeviceRules) -> Result<(), Errno> {
        let tree = self.tree.inner();
        let Some(hierarchy) = tree.find("devices") else {
            return Err(Errno::NODEV);
        };
        let directory = hierarchy.directory(&self.path)?;
        match tree.version() {
            Version::V1 => devices.apply_v1(directory.as_fd()),
            Version::V2 => devices.apply_v2(directory.as_fd()),
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let hierarchies = self.tree.inner().hierarchies();
        for hierarchy in hierarchies.iter().take(self.made) {
            match remove::directory(hierarchy, &self.path) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    tracing::warn!(path = self.path.as_str(), error = %errno, "half-made cgroup could not be removed");
                }
            }
        }
    }
}

/// Makes the levels above again where systemd has taken them away: on v1 it does in trees in which
/// it needs none, whenever it looks at a slice.
fn make_levels_above(
    tree: &Inner,
    hierarchy: &Hierarchy,
    path: &CgroupPath,
) -> Result<(), CreateError> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    if tree.systemd().is_none() || tree.version() == Version::V2 || hierarchy.contains(&parent) {
        return Ok(());
    }
    for level in parent.levels() {
        level::make(hierarchy, &level)?;
        level::prepare(tree, hierarchy, &level)?;
    }
    Ok(())
}

/// Replaces an empty directory, so that no value of its former life is left.
fn replace(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<(), CreateError> {
    let exists = |_| CreateError::Exists { path: path.clone() };
    remove::directory(hierarchy, path).map_err(exists)?;
    match level::make(hierarchy, path)? {
        level::Made::Now => Ok(()),
        level::Made::Before => Err(exists(Errno::EXIST)),
    }
}
