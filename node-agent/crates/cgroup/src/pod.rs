//! The level above containers: made here where the caller has not made it.

use serde::{Deserialize, Serialize};

use rustix::io::Errno;

use crate::error::{CreateError, RemoveError};
use crate::level::{self, Made};
use crate::systemd::Started;
use crate::tree::Inner;
use crate::{CgroupPath, remove};

/// A pod's cgroup, and which directories of its path are this agent's to remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodCgroup {
    /// Containers are made directly below it.
    pub path: CgroupPath,
    /// What was made, the outermost first. The configured parent is never among them: it
    /// outlives pods.
    pub created: Vec<MadeLevel>,
}

/// One level that did not exist before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeLevel {
    /// Its path.
    pub path: CgroupPath,
    /// The hierarchies in which it was made, each by its first controller. A kubelet may have
    /// made it in some and not in others.
    pub hierarchies: Vec<String>,
}

/// How often a level that vanished while the next was being made is made again.
const ATTEMPTS: usize = 4;

/// What lies in a cgroup. Of v2 it may not be both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inside {
    /// Cgroups, which get their controllers from it.
    Cgroups,
    /// Processes.
    Processes,
}

/// Makes every missing level of `path` in every hierarchy.
pub(crate) fn create(
    tree: &Inner,
    path: &CgroupPath,
    inside: Inside,
) -> Result<PodCgroup, CreateError> {
    level::enable_controllers(tree, None);
    let mut pod = PodCgroup {
        path: path.clone(),
        created: Vec::new(),
    };
    let mut attempt = 1;
    loop {
        match make_levels(tree, &mut pod, inside) {
            // Another pod's removal took a level they share.
            Err(CreateError::Directory {
                source: Errno::NOENT,
                ..
            }) if attempt < ATTEMPTS => attempt += 1,
            Ok(()) => return Ok(pod),
            Err(error) => {
                if let Err(left) = remove(tree, &pod) {
                    tracing::warn!(path = path.as_str(), error = %left, "half-made pod cgroup could not be removed");
                }
                return Err(error);
            }
        }
    }
}

fn make_levels(tree: &Inner, pod: &mut PodCgroup, inside: Inside) -> Result<(), CreateError> {
    start_slice(tree, pod)?;
    for path in pod.path.levels() {
        let is_parent = tree.parent().is_within(&path);
        let mut made = Vec::new();
        for hierarchy in tree.hierarchies() {
            let outcome = level::make(hierarchy, &path)?;
            if outcome == Made::Now && !is_parent {
                made.push(hierarchy.name().to_owned());
            }
            // Also where it was there before: who made it may have been stopped half-way.
            level::prepare(tree, hierarchy, &path)?;
        }
        if !made.is_empty() {
            note(pod, &path, made);
        }
        if inside == Inside::Cgroups || path != pod.path {
            level::enable_controllers(tree, Some(&path));
        }
    }
    Ok(())
}

/// Has systemd make the pod's own level, and those above it that are missing, where it is a slice.
fn start_slice(tree: &Inner, pod: &mut PodCgroup) -> Result<(), CreateError> {
    let path = pod.path.clone();
    let missing = tree.hierarchies().iter().filter(|h| !h.contains(&path));
    let missing: Vec<_> = missing.map(|h| h.name().to_owned()).collect();
    let Some(systemd) = tree.systemd().filter(|_| path.name().ends_with(".slice")) else {
        return Ok(());
    };
    if missing.len() < tree.hierarchies().len() {
        return Ok(());
    }
    match systemd.start_slice(&path) {
        Ok(Started::Now) if path != *tree.parent() => note(pod, &path, missing),
        Ok(_) => {}
        Err(source) => return Err(CreateError::Systemd { path, source }),
    }
    Ok(())
}

/// Adds hierarchies to the record of a level, which a repeated attempt may have begun.
fn note(pod: &mut PodCgroup, path: &CgroupPath, made: Vec<String>) {
    match pod.created.iter_mut().find(|level| level.path == *path) {
        Some(level) => {
            level.hierarchies.extend(made);
            level.hierarchies.sort();
            level.hierarchies.dedup();
        }
        None => pod.created.push(MadeLevel {
            path: path.clone(),
            hierarchies: made,
        }),
    }
}

/// Removes what was made, the innermost first.
pub(crate) fn remove(tree: &Inner, pod: &PodCgroup) -> Result<(), RemoveError> {
    // All below the configured parent is ours, whoever's record was lost.
    if pod.path.is_within(tree.parent()) && pod.path != *tree.parent() {
        remove::remove(tree, &pod.path)?;
    }
    for made in pod.created.iter().rev() {
        let ours = |name: &str| made.hierarchies.iter().any(|h| h == name);
        for hierarchy in tree.hierarchies().iter().filter(|h| ours(h.name())) {
            match remove::directory(hierarchy, &made.path) {
                Ok(()) | Err(Errno::NOENT) => {}
                // Somebody else's cgroup is below it by now.
                Err(Errno::BUSY | Errno::NOTEMPTY) => {
                    tracing::debug!(
                        path = made.path.as_str(),
                        hierarchy = hierarchy.name(),
                        "cgroup level is in use and stays"
                    );
                }
                Err(source) => {
                    return Err(RemoveError::Directory {
                        path: made.path.clone(),
                        hierarchy: hierarchy.name().to_owned(),
                        source,
                    });
                }
            }
        }
        forget(tree, &made.path);
    }
    Ok(())
}

/// Has systemd forget a slice whose cgroup is gone. One that others use is left alone: stopping it
/// would stop them.
fn forget(tree: &Inner, path: &CgroupPath) {
    if let Some(systemd) = tree.systemd()
        && tree.hierarchies().iter().all(|h| !h.contains(path))
    {
        systemd.forget(path);
    }
}
