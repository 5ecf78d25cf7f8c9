//! Ending what a sandbox stands on. Goes on past failures and reports them all.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use agent_cgroup::{CgroupPath, CgroupTree, PodCgroup};
use agent_network::Attachment;
use agent_shim_client::{ConnectError, RequestError, Shim};
use agent_store::Durability;

use super::error::TeardownError;
use super::network;
use super::spec::{SandboxRecord, SandboxStateRecord};
use super::state::SandboxPhase;
use crate::metrics::Phase;
use crate::services::{Services, blocking};

/// How long a shim has to end its containers before their cgroups are killed from outside.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// What a sandbox owns on the machine, as far as it was made.
#[derive(Debug, Default)]
pub(crate) struct Owned {
    /// Its shim, where it is known and answers.
    pub(crate) shim: Option<Shim>,
    /// A handle on the shim's process.
    pub(crate) shim_process: Option<Arc<OwnedFd>>,
    /// Its built-in network.
    pub(crate) attachment: Option<Attachment>,
    /// Its network of plugins.
    pub(crate) cni: Option<Box<agent_cni::Attachment>>,
    /// Its cgroup.
    pub(crate) cgroup: Option<PodCgroup>,
    /// Cgroups of its containers.
    pub(crate) containers: Vec<CgroupPath>,
}

/// A tear-down that did not end everything.
#[derive(Debug)]
pub(crate) struct Incomplete {
    /// What failed; at least one.
    pub(crate) failures: Vec<TeardownError>,
    /// What may still be there, for another try.
    pub(crate) left: SandboxStateRecord,
}

/// Something failed, and what was made for it may not all have been undone.
#[derive(Debug)]
pub(crate) struct Failed<E> {
    pub(crate) error: E,
    pub(crate) left: Option<Incomplete>,
}

impl<E> Failed<E> {
    /// Returns the same with another error made of this one.
    pub(crate) fn map<F>(self, change: impl FnOnce(E) -> F) -> Box<Failed<F>> {
        Box::new(Failed {
            error: change(self.error),
            left: self.left,
        })
    }
}

impl<E> From<E> for Box<Failed<E>> {
    /// Nothing was made yet.
    fn from(error: E) -> Self {
        Box::new(Failed { error, left: None })
    }
}

impl From<SandboxStateRecord> for Owned {
    /// What an earlier tear-down left; its shim is found by its socket.
    fn from(left: SandboxStateRecord) -> Self {
        Self {
            attachment: left.attachment,
            cni: left.cni,
            cgroup: left.cgroup,
            ..Self::default()
        }
    }
}

/// Ends everything in `owned`, half made or whole, and saves that the sandbox is not ready.
///
/// May be repeated.
pub(crate) async fn tear_down(
    services: &Services,
    record: &SandboxRecord,
    owned: Owned,
) -> Result<(), Incomplete> {
    let id = &record.id;
    let mut failures = Vec::new();
    let phases = &services.phases;
    let ended = end_shim(services, record, owned.shim, owned.shim_process);
    if let Err(failure) = phases.time(Phase::StopShim, ended).await {
        failures.push(failure);
    }
    let (attachment, cni) = (owned.attachment.as_ref(), owned.cni.as_deref());
    let detached = network::detach(services, record, attachment, cni);
    failures.extend(phases.time(Phase::StopNetwork, detached).await);
    let removed = remove_cgroups(services, record, owned.cgroup.clone(), owned.containers);
    if let Err(failure) = phases.time(Phase::StopCgroup, removed).await {
        failures.push(failure);
    }
    let kept = !failures.is_empty();
    let left = SandboxStateRecord {
        phase: SandboxPhase::NotReady,
        attachment: owned.attachment.filter(|_| kept),
        cni: owned.cni.filter(|_| kept),
        cgroup: owned.cgroup.filter(|_| kept),
    };
    if let Err(source) = services
        .store
        .save(Durability::Unsynced, id.as_str(), &left)
        .await
    {
        failures.push(TeardownError::Save {
            id: id.clone(),
            source,
        });
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Incomplete { failures, left })
    }
}

/// Has the shim end its containers and itself; finds it by its socket where `shim` is not known.
async fn end_shim(
    services: &Services,
    record: &SandboxRecord,
    shim: Option<Shim>,
    process: Option<Arc<OwnedFd>>,
) -> Result<(), TeardownError> {
    let (shim, process) = match shim.zip(process) {
        Some(known) => known,
        None => match Shim::connect(&services.paths().sandbox(&record.id)).await {
            Ok((shim, ready)) => (shim, Arc::new(ready.pidfd)),
            Err(ConnectError::Absent { .. }) => return Ok(()),
            Err(source) => {
                return Err(TeardownError::Connect {
                    id: record.id.clone(),
                    source,
                });
            }
        },
    };
    match tokio::time::timeout(SHUTDOWN, shim.shutdown()).await {
        Ok(Ok(())) => Ok(()),
        // It ended before it could answer, which is what was wanted.
        Ok(Err(RequestError::Gone)) => Ok(()),
        Ok(Err(source)) => {
            kill(&process);
            Err(TeardownError::Shim {
                id: record.id.clone(),
                source,
            })
        }
        Err(_) => {
            kill(&process);
            Ok(())
        }
    }
}

/// Kills a shim that does not end; its containers' cgroups are killed as they are removed.
fn kill(process: &OwnedFd) {
    // It has ended already: what was wanted.
    let _ = rustix::process::pidfd_send_signal(process, rustix::process::Signal::KILL);
}

async fn remove_cgroups(
    services: &Services,
    record: &SandboxRecord,
    pod: Option<PodCgroup>,
    containers: Vec<CgroupPath>,
) -> Result<(), TeardownError> {
    let tree = services.cgroups.clone();
    let id = record.id.clone();
    blocking(move || {
        for path in &containers {
            remove_container_cgroup(&tree, path)?;
        }
        pod.map_or(Ok(()), |pod| tree.remove_pod(&pod))
    })
    .await?
    .map_err(|source| TeardownError::Cgroup { id, source })
}

/// Kills every process in the containers' cgroups; their shim cannot any more.
pub(crate) async fn kill_containers(services: &Services, containers: Vec<CgroupPath>) {
    let tree = services.cgroups.clone();
    let kill = move || {
        for path in &containers {
            if let Ok(Some(cgroup)) = tree.open_cgroup(path)
                && let Err(error) = cgroup.kill()
            {
                tracing::warn!(path = %path, error = %agent_telemetry::chain(&error), "cgroup not killed");
            }
        }
    };
    // When the agent is going down the next one does it.
    let _ = blocking(kill).await;
}

/// Kills what is left in a container's cgroup and removes it; blocking.
pub(crate) fn remove_container_cgroup(
    tree: &CgroupTree,
    path: &CgroupPath,
) -> Result<(), agent_cgroup::RemoveError> {
    match tree.open_cgroup(path) {
        Ok(Some(cgroup)) => cgroup.remove(),
        // Gone, or not to be opened because it is going.
        Ok(None) | Err(_) => Ok(()),
    }
}
