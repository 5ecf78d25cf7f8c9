//! The machine's cgroups as this node uses them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use agent_types::SandboxId;
use rustix::io::Errno;

use crate::error::{CgroupError, CreateError, OpenError, RemoveError};
use crate::hierarchy::{self, Hierarchy, Version};
use crate::limits::{self, LimitError, Limits, Machine};
use crate::pod::PodCgroup;
use crate::{Cgroup, CgroupPath, DeviceRules, PathError, file, level, remove};

/// Directory of the launcher and the shims below the parent. No id starts with an underscore.
const SHIMS: &str = "_shims";

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// This crate, by making directories.
    #[default]
    Cgroupfs,
}

/// Where to look for hierarchies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Detection {
    /// Where the machine has them mounted.
    #[default]
    Auto,
    /// One cgroup2 mount at this place, as on a machine with v2 only.
    Unified(PathBuf),
}

/// How cgroups are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Above pods that come without a parent of their own; everything below it is this agent's.
    pub parent: CgroupPath,
    /// Who makes them.
    pub driver: Driver,
    /// Where to look.
    pub detection: Detection,
}

impl Config {
    /// Returns the usual configuration with `parent`.
    #[must_use]
    pub fn with_parent(parent: CgroupPath) -> Self {
        Self {
            parent,
            driver: Driver::default(),
            detection: Detection::default(),
        }
    }
}

/// Everything the cgroups of one tree share.
#[derive(Debug)]
pub(crate) struct Inner {
    version: Version,
    /// Never empty.
    hierarchies: Vec<Hierarchy>,
    machine: Machine,
    parent: CgroupPath,
}

impl Inner {
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(crate) fn parent(&self) -> &CgroupPath {
        &self.parent
    }

    /// Returns the hierarchy that carries `controller`; on v2 there is one for all.
    pub(crate) fn find(&self, controller: &str) -> Option<&Hierarchy> {
        match self.version {
            Version::V1 => self.hierarchies.iter().find(|h| h.has(controller)),
            Version::V2 => self.hierarchies.first(),
        }
    }

    /// As `find`, for a controller that the limits' check has seen; the first hierarchy otherwise.
    pub(crate) fn hierarchy(&self, controller: &str) -> &Hierarchy {
        self.find(controller).unwrap_or(&self.hierarchies[0])
    }
}

/// The machine's hierarchies, found once and kept open. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CgroupTree {
    inner: Arc<Inner>,
}

impl CgroupTree {
    /// Finds the hierarchies and opens them.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let (version, hierarchies) = match &config.detection {
            Detection::Auto => hierarchy::detect()?,
            Detection::Unified(at) => (Version::V2, vec![hierarchy::open_unified(at)?]),
        };
        let Driver::Cgroupfs = config.driver;
        let machine = Machine::of(version, &hierarchies);
        Ok(Self {
            inner: Arc::new(Inner {
                version,
                hierarchies,
                machine,
                parent: config.parent,
            }),
        })
    }

    /// Returns the version of the interface.
    #[must_use]
    pub fn version(&self) -> Version {
        self.inner.version
    }

    /// Returns the hierarchies in the order of [`Cgroup::attach_directories`].
    #[must_use]
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.inner.hierarchies
    }

    /// Returns the configured parent.
    #[must_use]
    pub fn parent(&self) -> &CgroupPath {
        &self.inner.parent
    }

    #[cfg(test)]
    fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Returns the path that a pod will have, without making anything: `cgroup_parent` itself if
    /// one is given, else the sandbox's own directory below the configured parent.
    pub fn pod_path(
        &self,
        cgroup_parent: Option<&str>,
        sandbox: &SandboxId,
    ) -> Result<CgroupPath, PathError> {
        match cgroup_parent.filter(|parent| !parent.is_empty()) {
            Some(parent) => parent.parse(),
            None => self.inner.parent.join(sandbox.as_str()),
        }
    }

    /// Makes what is missing of a pod's cgroup. Calling it again is harmless.
    pub fn create_pod(&self, path: &CgroupPath) -> Result<PodCgroup, CreateError> {
        crate::pod::create(&self.inner, path)
    }

    /// Removes the levels that [`create_pod`](Self::create_pod) made, with what is left in them.
    /// Levels that others use by now stay.
    pub fn remove_pod(&self, pod: &PodCgroup) -> Result<(), RemoveError> {
        crate::pod::remove(&self.inner, pod)
    }

    /// Refuses limits that cannot hold on this machine, or are below the caller's minimum of memory.
    pub fn validate(&self, limits: &Limits, minimum_memory: u64) -> Result<(), LimitError> {
        limits::check(limits, &self.inner.machine, minimum_memory)
    }

    /// Makes a container's cgroup with its limits and device rules, or nothing.
    ///
    /// An empty cgroup that a crash left under this name is replaced.
    pub fn create(
        &self,
        path: &CgroupPath,
        limits: &Limits,
        devices: &DeviceRules,
    ) -> Result<Cgroup, CreateError> {
        limits::check(limits, &self.inner.machine, 0).map_err(|source| CreateError::Limit {
            path: path.clone(),
            source,
        })?;
        let mut made = 0;
        let result = self.make(path, limits, devices, &mut made);
        if result.is_err() {
            for hierarchy in &self.inner.hierarchies[..made] {
                if let Err(errno) = remove::directory(hierarchy, path) {
                    tracing::warn!(path = path.as_str(), error = %errno, "half-made cgroup could not be removed");
                }
            }
        }
        result.map(|()| Cgroup::new(Arc::clone(&self.inner), path.clone()))
    }

    /// Makes the directories, counting them in `made`, then fills them.
    fn make(
        &self,
        path: &CgroupPath,
        limits: &Limits,
        devices: &DeviceRules,
        made: &mut usize,
    ) -> Result<(), CreateError> {
        for hierarchy in &self.inner.hierarchies {
            if level::make(hierarchy, path)? == level::Made::Before {
                replace(hierarchy, path)?;
            }
            *made += 1;
            if limits.cpuset_cpus.is_none() || limits.cpuset_mems.is_none() {
                level::prepare(hierarchy, path)?;
            }
        }
        limits::apply(&self.inner, path, limits, &Limits::default()).map_err(|source| {
            CreateError::Apply {
                path: path.clone(),
                source: Box::new(source),
            }
        })?;
        self.set_devices(path, devices)
            .map_err(|source| CreateError::Devices {
                path: path.clone(),
                source,
            })
    }

    fn set_devices(&self, path: &CgroupPath, devices: &DeviceRules) -> Result<(), Errno> {
        let Some(hierarchy) = self.inner.find("devices") else {
            return Err(Errno::NODEV);
        };
        let directory = hierarchy.directory(path)?;
        match self.inner.version {
            Version::V1 => devices.apply_v1(directory.as_fd()),
            Version::V2 => devices.apply_v2(directory.as_fd()),
        }
    }

    /// Returns an existing cgroup, or `None` if it is gone from every hierarchy.
    pub fn open_cgroup(&self, path: &CgroupPath) -> Result<Option<Cgroup>, CgroupError> {
        for hierarchy in &self.inner.hierarchies {
            match hierarchy.directory(path) {
                Ok(_) => return Ok(Some(Cgroup::new(Arc::clone(&self.inner), path.clone()))),
                Err(Errno::NOENT) => {}
                Err(source) => {
                    return Err(CgroupError::Read {
                        path: path.clone(),
                        file: "directory",
                        source,
                    });
                }
            }
        }
        Ok(None)
    }

    /// Makes the cgroup of the launcher and the shims, outside every pod's, and returns its
    /// directories as [`Cgroup::attach_directories`] does.
    pub fn create_shims(&self) -> Result<Vec<OwnedFd>, CreateError> {
        let path = self.shims()?;
        crate::pod::create(&self.inner, &path)?;
        let directories = crate::cgroup::directories(&self.inner, &path);
        directories.map_err(|source| CreateError::File {
            path,
            file: "directory",
            source,
        })
    }

    pub(crate) fn shims(&self) -> Result<CgroupPath, PathError> {
        self.inner.parent.join(SHIMS)
    }

    /// Returns the cgroups of pods and containers below the parent, the deepest first, in whatever
    /// hierarchy they exist. What a container made for itself inside its own is not listed: it is
    /// the container's, and goes with it.
    pub fn list_ours(&self) -> Result<Vec<CgroupPath>, CgroupError> {
        let mut found = Vec::new();
        for hierarchy in &self.inner.hierarchies {
            let mut pods = below(hierarchy, &self.inner.parent)?;
            pods.retain(|pod| pod.name() != SHIMS);
            for pod in &pods {
                found.extend(below(hierarchy, pod)?);
            }
            found.extend(pods);
        }
        found.sort_by(|a, b| {
            let depth = |path: &CgroupPath| path.as_str().matches('/').count();
            depth(b).cmp(&depth(a)).then_with(|| a.cmp(b))
        });
        found.dedup();
        Ok(found)
    }

    /// Removes the parent, and the shims' cgroup in it, where nothing is left in them. For an
    /// agent that goes away for good; returns whether all of it is gone.
    pub fn remove_parent(&self) -> bool {
        let shims = self.shims().ok();
        let mut gone = true;
        for hierarchy in &self.inner.hierarchies {
            for path in shims.iter().chain([&self.inner.parent]) {
                gone &= matches!(
                    remove::directory(hierarchy, path),
                    Ok(()) | Err(Errno::NOENT)
                );
            }
        }
        gone
    }
}

/// Returns the cgroups directly below `path`; none if it is gone.
fn below(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Vec<CgroupPath>, CgroupError> {
    let names = hierarchy
        .directory(path)
        .and_then(|directory| file::children(directory.as_fd()));
    match names {
        Ok(names) => Ok(names
            .iter()
            .filter_map(|name| path.join(name).ok())
            .collect()),
        Err(Errno::NOENT | Errno::NODEV) => Ok(Vec::new()),
        Err(source) => Err(CgroupError::Read {
            path: path.clone(),
            file: "directory",
            source,
        }),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> CgroupTree {
        CgroupTree::open(Config::with_parent("/node-agent-unit".parse().unwrap())).unwrap()
    }

    #[test]
    fn pods_without_a_parent_live_below_ours() {
        let sandbox = SandboxId::from_random([7; 32]);
        let tree = tree();
        let own = tree.pod_path(None, &sandbox).unwrap();
        assert_eq!(own.as_str(), format!("/node-agent-unit/{sandbox}"));
        assert_eq!(tree.pod_path(Some(""), &sandbox).unwrap(), own);
        let given = tree
            .pod_path(Some("/kubepods/burstable/pod1"), &sandbox)
            .unwrap();
        assert_eq!(given.as_str(), "/kubepods/burstable/pod1");
        assert!(tree.pod_path(Some("/kubepods/../.."), &sandbox).is_err());
        assert!(tree.pod_path(Some("kubepods"), &sandbox).is_err());
    }

    #[test]
    fn refused_limits_make_nothing() {
        let path: CgroupPath = "/node-agent-unit-refused".parse().unwrap();
        let limits = Limits {
            pids: Some(0),
            ..Limits::default()
        };
        let tree = tree();
        let result = tree.create(&path, &limits, &DeviceRules::container_default());
        assert!(matches!(result, Err(CreateError::Limit { .. })));
        assert!(
            tree.inner()
                .hierarchies()
                .iter()
                .all(|h| !h.contains(&path))
        );
    }

    #[test]
    fn no_id_can_be_the_shims_directory() {
        assert!(SHIMS.parse::<SandboxId>().is_err());
    }
}
