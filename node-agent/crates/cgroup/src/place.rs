//! Where cgroups lie, and which of them are this node's.

use std::os::fd::{AsFd, OwnedFd};

use agent_types::{ContainerId, SandboxId};
use rustix::io::Errno;

use crate::error::{CgroupError, CreateError};
use crate::pod::Inside;
use crate::systemd::{Hold, name_of_slice, path_of_slice};
use crate::tree::CgroupTree;
use crate::{CgroupPath, Hierarchy, PathError, PodCgroup, Version, file, remove};

/// Directory of the launcher and the shims below the parent. No id starts with an underscore.
const SHIMS: &str = "_shims";
/// The same as a scope, after the name of the parent's slice.
const SHIMS_SCOPE: &str = "-shims.scope";

/// A cgroup below the node's own parent, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnCgroup {
    /// Where it lies.
    pub path: CgroupPath,
    /// Id of the sandbox or container that it was made for.
    pub id: String,
}

/// Where processes of the node's own live: launcher and shims, or who holds a PID namespace.
#[derive(Debug)]
pub struct OwnProcesses {
    /// Its directories, as [`crate::Cgroup::attach_directories`] has them.
    pub directories: Vec<OwnedFd>,
    /// Keeps it while nobody is in it.
    pub hold: Option<Hold>,
}

impl CgroupTree {
    /// Returns the path that a pod will have, without making anything: `cgroup_parent` itself if
    /// one is given, else the sandbox's own directory below the configured parent. With systemd a
    /// parent is a slice, by its name or as the path that the name stands for.
    pub fn pod_path(
        &self,
        cgroup_parent: Option<&str>,
        sandbox: &SandboxId,
    ) -> Result<CgroupPath, PathError> {
        let given = cgroup_parent.filter(|parent| !parent.is_empty());
        match (given, self.is_systemd()) {
            (Some(parent), false) => parent.parse(),
            (Some(parent), true) => path_of_slice(parent),
            (None, false) => self.parent().join(sandbox.as_str()),
            (None, true) => {
                let name = name_of_slice(self.parent(), sandbox.as_str());
                self.parent().join(&name)
            }
        }
    }

    /// Returns the path that a container will have in its pod's cgroup.
    pub fn container_path(
        &self,
        pod: &CgroupPath,
        container: &ContainerId,
    ) -> Result<CgroupPath, PathError> {
        match self.inner().systemd() {
            None => pod.join(container.as_str()),
            Some(systemd) => pod.join(&systemd.scope_name(container.as_str())),
        }
    }

    /// Makes the cgroup of the launcher and the shims, outside every pod's.
    pub fn create_shims(&self) -> Result<OwnProcesses, CreateError> {
        let path = self.shims()?;
        let failed = |source| CreateError::Systemd {
            path: path.clone(),
            source,
        };
        let hold = match self.inner().systemd() {
            None => None,
            Some(systemd) => {
                systemd.start_slice(self.parent()).map_err(failed)?;
                Some(systemd.join_scope(self.inner(), &path).map_err(failed)?)
            }
        };
        crate::pod::create(self.inner(), &path, Inside::Processes)?;
        let directories = crate::cgroup::directories(self.inner(), &path);
        let directories = directories.map_err(|source| CreateError::File {
            path,
            file: "directory",
            source,
        })?;
        Ok(OwnProcesses { directories, hold })
    }

    /// Makes the cgroup of the process that holds a pod's shared PID namespace, and notes it in
    /// `pod`. That is the pod's own where it may be: on v1, where no systemd is asked.
    pub fn create_holder(
        &self,
        pod: &mut PodCgroup,
        sandbox: &SandboxId,
    ) -> Result<OwnProcesses, CreateError> {
        let tree = self.inner();
        let mut path = pod.path.clone();
        let mut hold = None;
        if let Some(systemd) = tree.systemd() {
            path = path.join(&systemd.scope_name(sandbox.as_str()))?;
            let joined = systemd.join_scope(tree, &path);
            hold = Some(joined.map_err(|source| CreateError::Systemd {
                path: path.clone(),
                source,
            })?);
        } else if let Some(own) = self.holder(&pod.path, sandbox) {
            path = own;
        }
        if path != pod.path {
            let made = crate::pod::create(tree, &path, Inside::Processes)?;
            pod.created.extend(made.created);
        }
        let directories = crate::cgroup::directories(tree, &path);
        let directories = directories.map_err(|source| CreateError::File {
            path,
            file: "directory",
            source,
        })?;
        Ok(OwnProcesses { directories, hold })
    }

    /// Returns the directory that [`CgroupTree::create_holder`] makes in a pod's cgroup; `None`
    /// where it makes none, or has systemd make it.
    #[must_use]
    pub fn holder(&self, pod: &CgroupPath, sandbox: &SandboxId) -> Option<CgroupPath> {
        let made = !self.is_systemd() && self.version() == Version::V2;
        made.then(|| pod.join(sandbox.as_str()).ok())?
    }

    pub(crate) fn shims(&self) -> Result<CgroupPath, PathError> {
        if !self.is_systemd() {
            return self.parent().join(SHIMS);
        }
        let slice = self.parent().name();
        let stem = slice.strip_suffix(".slice").unwrap_or(slice);
        self.parent().join(&format!("{stem}{SHIMS_SCOPE}"))
    }

    /// Returns the cgroups of pods and containers below the parent, the deepest first, in whatever
    /// hierarchy they exist. What a container made for itself inside its own is not listed: it is
    /// the container's, and goes with it.
    pub fn list_ours(&self) -> Result<Vec<OwnCgroup>, CgroupError> {
        let shims = self.shims().ok();
        let mut found = Vec::new();
        for hierarchy in self.hierarchies() {
            let mut pods = below(hierarchy, self.parent())?;
            pods.retain(|pod| Some(pod) != shims.as_ref());
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
        let owned = found.into_iter().map(|path| OwnCgroup {
            id: self.id_of(&path).to_owned(),
            path,
        });
        Ok(owned.collect())
    }

    /// Returns the id in a cgroup's name.
    fn id_of<'a>(&self, path: &'a CgroupPath) -> &'a str {
        let name = path.name();
        let Some(systemd) = self.inner().systemd() else {
            return name;
        };
        let slice = || {
            let parent = self.parent().name().strip_suffix(".slice")?;
            let rest = name.strip_suffix(".slice")?.strip_prefix(parent)?;
            rest.strip_prefix('-')
        };
        systemd.id_of_scope(name).or_else(slice).unwrap_or(name)
    }

    /// Removes the parent, and the shims' cgroup in it, where nothing is left in them. For an
    /// agent that goes away for good; returns whether all of it is gone. With systemd the scope
    /// ends with the agent; the slice stays: whoever else put a unit into it would lose that.
    pub fn remove_parent(&self) -> bool {
        if self.is_systemd() {
            return true;
        }
        let shims = self.shims().ok();
        let mut gone = true;
        for hierarchy in self.hierarchies() {
            for path in shims.iter().chain([self.parent()]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Driver};

    fn tree() -> CgroupTree {
        CgroupTree::open(Config::with_parent("/node-agent-unit".parse().unwrap())).unwrap()
    }

    fn slices() -> CgroupTree {
        let mut config = Config::with_parent(path_of_slice("unit-test.slice").unwrap());
        config.driver = Driver::Systemd {
            prefix: "unit".to_owned(),
        };
        CgroupTree::open(config).unwrap()
    }

    #[test]
    fn slices_and_scopes_carry_the_ids() {
        let tree = slices();
        let sandbox = SandboxId::from_random([7; 32]);
        let container = ContainerId::from_random([9; 32]);
        let pod = tree.pod_path(None, &sandbox).unwrap();
        assert_eq!(
            pod.as_str(),
            format!("/unit.slice/unit-test.slice/unit-test-{sandbox}.slice")
        );
        assert_eq!(path_of_slice(pod.name()).unwrap(), pod);
        assert_eq!(tree.id_of(&pod), sandbox.as_str());
        let leaf = tree.container_path(&pod, &container).unwrap();
        assert_eq!(leaf.as_str(), format!("{pod}/unit-{container}.scope"));
        assert_eq!(tree.id_of(&leaf), container.as_str());
        let given = tree.pod_path(Some("kubepods-pod1.slice"), &sandbox);
        assert_eq!(
            given.unwrap().as_str(),
            "/kubepods.slice/kubepods-pod1.slice"
        );
        assert!(tree.pod_path(Some("/kubepods/pod1"), &sandbox).is_err());
        let shims = tree.shims().unwrap();
        assert_eq!(shims.name(), "unit-test-shims.scope");
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
    fn no_id_can_be_the_shims_directory() {
        assert!(SHIMS.parse::<SandboxId>().is_err());
    }
}
