//! The machine's cgroups as this node uses them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::claim::Held;
use crate::error::{CgroupError, CreateError, OpenError, RemoveError, UpdateError};
use crate::hierarchy::{self, Hierarchy, Version};
use crate::limits::{self, LimitError, Limits, Machine};
use crate::pod::{Inside, PodCgroup};
use crate::systemd::Systemd;
use crate::{Cgroup, CgroupPath};

/// Who makes cgroups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Driver {
    /// This crate, by making directories.
    #[default]
    Cgroupfs,
    /// systemd, asked for slices and scopes; parents are slices then.
    Systemd {
        /// What the names of containers' scopes begin with.
        prefix: String,
    },
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
    systemd: Option<Systemd>,
    held: Mutex<Option<Held>>,
}

impl Inner {
    /// Returns what makes the parent ours, if anything does.
    pub(crate) fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

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

    /// Returns systemd, where it is who makes cgroups.
    pub(crate) fn systemd(&self) -> Option<&Systemd> {
        self.systemd.as_ref()
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
        let (version, mut hierarchies) = match &config.detection {
            Detection::Auto => hierarchy::detect()?,
            Detection::Unified(at) => (Version::V2, vec![hierarchy::open_unified(at)?]),
        };
        if version == Version::V1 && config.driver != Driver::Cgroupfs {
            hierarchies.extend(hierarchy::beside_v1().transpose()?);
        }
        let machine = Machine::of(version, &hierarchies);
        Ok(Self {
            inner: Arc::new(Inner {
                version,
                hierarchies,
                machine,
                parent: config.parent,
                systemd: match config.driver {
                    Driver::Cgroupfs => None,
                    Driver::Systemd { prefix } => Some(Systemd::new(prefix)),
                },
                held: Mutex::default(),
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

    /// Says whether systemd makes the cgroups.
    #[must_use]
    pub fn is_systemd(&self) -> bool {
        self.inner.systemd.is_some()
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Makes what is missing of a pod's cgroup. Calling it again is harmless.
    pub fn create_pod(&self, path: &CgroupPath) -> Result<PodCgroup, CreateError> {
        crate::pod::create(&self.inner, path, Inside::Cgroups)
    }

    /// Says whether the pod's own level was made here, in every hierarchy, so that its limits are
    /// this agent's to set. A kubelet makes its pods' levels in those that it limits.
    #[must_use]
    pub fn is_ours(&self, pod: &PodCgroup) -> bool {
        let all = self.inner.hierarchies.len();
        let mut levels = pod.created.iter();
        levels.any(|level| level.path == pod.path && level.hierarchies.len() == all)
    }

    /// Changes the limits of a pod's cgroup; when one is refused, those written before it are put back.
    pub fn update_pod(&self, pod: &PodCgroup, limits: &Limits) -> Result<(), UpdateError> {
        limits::update(&self.inner, &pod.path, limits)
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceRules;

    fn tree() -> CgroupTree {
        CgroupTree::open(Config::with_parent("/node-agent-unit".parse().unwrap())).unwrap()
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
}
