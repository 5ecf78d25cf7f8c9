//! Making what a sandbox stands on: cgroup, shim with its namespaces, network, files.
//!
//! The ledger comes first: the state record that names the reservation and the cgroup is
//! written before either is made, and [`tear_down`] undoes whatever of it stands.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

use agent_cgroup::{CgroupPath, CgroupTree, Hold, MadeLevel, PodCgroup};
use agent_network::{Attachment, Counters};
use agent_seccomp::{Capabilities, Profile};
use agent_shim_client::{
    CgroupDirectories, Events, IdMapping, IdMappings, LaunchSpec, Namespace, Network, Ready,
    SandboxPid, Shim,
};
use agent_store::Durability;
use agent_types::Owner;
use tokio::sync::{AcquireError, SemaphorePermit};

use super::error::{RunError, StepError};
use super::files;
use super::network::{self, Guest};
use super::spec::{
    IdRange, NamespaceScope, SandboxNetwork, SandboxRecord, SandboxSpec, SandboxStateRecord,
    UserNamespace,
};
use super::state::SandboxPhase;
use super::stop::{Failed, Owned, tear_down};
use crate::elsewhere::Elsewhere;
use crate::metrics::Phase;
use crate::node::index::{Found, Index};
use crate::services::{Interrupted, Services, blocking};

/// A sandbox that stands.
#[derive(Debug)]
pub struct Live {
    /// Its shim.
    pub shim: Shim,
    /// Process id of the shim.
    pub shim_pid: u32,
    /// A handle on the shim's process.
    pub(crate) shim_process: Arc<OwnedFd>,
    /// Its network namespace; `None`: the host's.
    pub netns: Option<OwnedFd>,
    /// Its user namespace; `None`: the host's.
    pub user_namespace: Option<Arc<OwnedFd>>,
    /// Its built-in network.
    pub attachment: Option<Attachment>,
    /// Its network of plugins.
    pub cni: Option<Box<agent_cni::Attachment>>,
    /// Its cgroup.
    pub cgroup: PodCgroup,
    /// Reads what its network carries, for one reader at a time; opened when there is one.
    pub(crate) counters: Mutex<Option<Counters>>,
}

/// What else bringing a sandbox up needs.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// Network namespace of the container whose network it shares.
    pub(crate) netns: Option<OwnedFd>,
}

/// Returns how hard a sandbox's records must be to lose.
pub(crate) fn durability(owner: Owner) -> Durability {
    match owner {
        Owner::Cri => Durability::Unsynced,
        Owner::Local => Durability::Synced,
    }
}

/// Finds the network namespace of the container whose network a sandbox shares.
pub(crate) fn joined(index: &Index, record: &SandboxRecord) -> Result<Joined, RunError> {
    let SandboxNetwork::Container(container) = &record.spec.network else {
        return Ok(Joined::default());
    };
    let refused = || RunError::Join {
        name: record.spec.metadata.name.clone(),
        container: container.short().to_owned(),
    };
    let Found::One((_, handle)) = index.container(record.spec.owner, container.as_str()) else {
        return Err(refused());
    };
    let view = handle.view();
    let live = view.live.as_ref().ok_or_else(refused)?;
    let netns = match &live.netns {
        Some(netns) => Some(netns.try_clone().map_err(|_| refused())?),
        None => None,
    };
    Ok(Joined { netns })
}

/// Refuses what can be refused before anything is made.
pub(crate) fn check(services: &Services, spec: &SandboxSpec) -> Result<(), RunError> {
    let handlers = &services.settings.handlers;
    if handlers.get(&spec.runtime_handler).is_none() {
        return Err(RunError::Handler {
            handler: spec.runtime_handler.clone(),
        });
    }
    let name = || spec.metadata.name.clone();
    if spec.user_namespace.is_some() && !services.user_namespaces(&spec.runtime_handler) {
        return Err(RunError::UserNamespace {
            name: name(),
            handler: spec.runtime_handler.clone(),
        });
    }
    let probe = agent_types::SandboxId::from_random([0; 32]);
    services
        .cgroups
        .pod_path(spec.cgroup_parent.as_deref(), &probe)
        .map_err(|source| RunError::CgroupParent {
            name: name(),
            source,
        })?;
    let limits = services.cgroups.validate(&spec.limits, 0);
    limits.map_err(|source| RunError::Limit {
        name: name(),
        source,
    })?;
    checked_sysctls(spec).map_err(|source| RunError::Spec {
        name: name(),
        source,
    })?;
    files::check(spec).map_err(|source| RunError::Files {
        name: name(),
        source,
    })
}

fn checked_sysctls(spec: &SandboxSpec) -> Result<BTreeMap<String, String>, agent_oci::PlanError> {
    agent_oci::check_sysctls(&spec.sysctls, &crate::container::plan::namespaces(spec))
}

/// Makes a sandbox; undoes what was made where a step fails.
///
/// # Errors
/// [`RunError::Step`] with the step, or a refusal of the specification; and what could not be
/// undone.
pub(crate) async fn bring_up(
    services: &Services,
    record: &SandboxRecord,
    joined: Joined,
) -> Result<(Live, Events), Box<Failed<RunError>>> {
    let step = |source| RunError::Step {
        id: record.id.clone(),
        source: Box::new(source),
    };
    let sysctls = checked_sysctls(&record.spec).map_err(|source| RunError::Spec {
        name: record.spec.metadata.name.clone(),
        source,
    })?;
    let path = services
        .cgroups
        .pod_path(record.spec.cgroup_parent.as_deref(), &record.id)
        .map_err(|source| RunError::CgroupParent {
            name: record.spec.metadata.name.clone(),
            source,
        })?;
    let driver = network::driver(services, record).await;
    let phases = &services.phases;
    let permit = phases.time(Phase::PodQueue, services.starts.acquire());
    let permit = permit.await;
    let planned = network::plan(services, record, &driver, &path);
    let planned = phases.time(Phase::PodPlan, planned).await;
    let (mut owned, netns) = planned.map_err(&step)?;
    owned.cgroup = Some(planned_cgroup(&services.cgroups, record, path));
    let inputs = (sysctls, joined, netns);
    match make(services, record, inputs, &mut owned, permit).await {
        Ok(made) => Ok(made),
        Err(error) => Err(Box::new(Failed {
            left: tear_down(services, record, owned).await.err(),
            error: step(error),
        })),
    }
}

/// Returns what the ledger says before the cgroup is made: one below the node's own parent is
/// ours for certain, one that the caller named may be the caller's; what is in that is ours.
fn planned_cgroup(tree: &CgroupTree, record: &SandboxRecord, path: CgroupPath) -> PodCgroup {
    let ours = match &record.spec.cgroup_parent {
        None => Some(path.clone()),
        Some(_) if record.spec.pid == NamespaceScope::Sandbox => tree.holder(&path, &record.id),
        Some(_) => None,
    };
    let hierarchies = tree.hierarchies().iter();
    let hierarchies: Vec<_> = hierarchies.map(|one| one.name().to_owned()).collect();
    let created = ours.map(|path| MadeLevel { path, hierarchies });
    PodCgroup {
        path,
        created: created.into_iter().collect(),
    }
}

async fn make(
    services: &Services,
    record: &SandboxRecord,
    (sysctls, joined, netns): (BTreeMap<String, String>, Joined, Option<OwnedFd>),
    owned: &mut Owned,
    permit: Result<SemaphorePermit<'_>, AcquireError>,
) -> Result<(Live, Events), StepError> {
    let directory = services.paths().sandbox(&record.id);
    // A directory without a record would be a stray, and be removed as one.
    let phases = &services.phases;
    let saved = save_ledger(services, record, owned);
    phases.time(Phase::PodRecord, saved).await?;
    {
        let directory = directory.clone();
        blocking(move || prepare_directory(&directory)).await??;
    }

    let mut launch = launch_spec(record, &directory, sysctls, &joined);
    let is_made = netns.is_some();
    if let Some(netns) = netns {
        launch.network = Network::Made(netns);
    }
    let started = start_shim(services, record, launch, owned);
    let (shim, ready) = phases.time(Phase::PodLaunch, started).await?;
    let cgroup = owned.cgroup.clone().ok_or(Interrupted)?;
    let events = shim.events().ok_or(Interrupted)?;

    let Ready {
        pid,
        pidfd,
        netns,
        netlink,
        user_namespace,
        ..
    } = ready;
    let guest = netns
        .as_ref()
        .zip(netlink)
        .map(|(netns, netlink)| Guest { netns, netlink });
    let shim_process = Arc::new(pidfd);
    owned.shim_process = Some(Arc::clone(&shim_process));
    let attached = async {
        match &owned.attachment {
            Some(made) if is_made => Ok(services.network.publish(made).await?),
            _ => network::attach(services, record, owned, guest, permit).await,
        }
    };
    phases.time(Phase::PodNetwork, attached).await?;
    let saved = save_state(services, record, SandboxPhase::Ready, owned);
    phases.time(Phase::PodRecord, saved).await?;
    let live = Live {
        shim,
        shim_pid: pid,
        shim_process,
        netns: netns.or(joined.netns),
        user_namespace: user_namespace.map(Arc::new),
        attachment: owned.attachment.clone(),
        cni: owned.cni.clone(),
        cgroup,
        counters: Mutex::default(),
    };
    Ok((live, events))
}

/// Makes the cgroup and the files beside the shim; whatever stands is noted in `owned`, also
/// where the other part fails.
async fn start_shim(
    services: &Services,
    record: &SandboxRecord,
    mut launch: LaunchSpec,
    owned: &mut Owned,
) -> Result<(Shim, Ready), StepError> {
    let phases = &services.phases;
    let cgroup = cgroup_and_files(services, record, owned, &launch.directory);
    let cgroup = phases.time(Phase::PodCgroup, cgroup);
    let launched = if let SandboxPid::Shared { .. } = launch.pid {
        // The first process of the shared namespace lives in the pod's cgroup.
        let cgroup = cgroup.await?;
        owned.cgroup = Some(cgroup.clone());
        let (pid, _held) = shared_pid(services, record, owned, cgroup).await?;
        launch.pid = pid;
        let launched = services.launcher.launch(&launch);
        phases.time(Phase::PodShim, launched).await
    } else {
        // The launcher is asked first: its part takes longer, and goes on without this thread.
        let launched = phases.time(Phase::PodShim, services.launcher.launch(&launch));
        let (launched, cgroup) = tokio::join!(launched, cgroup);
        match (cgroup, launched) {
            (Ok(cgroup), launched) => {
                owned.cgroup = Some(cgroup);
                launched
            }
            (Err(error), launched) => {
                if let Ok((shim, ready)) = launched {
                    owned.shim = Some(shim);
                    owned.shim_process = Some(Arc::new(ready.pidfd));
                }
                return Err(error);
            }
        }
    };
    let (shim, ready) = launched?;
    owned.shim = Some(shim.clone());
    Ok((shim, ready))
}

/// Writes what is about to be owned. The facts of a person's sandbox were written when its
/// container was created.
async fn save_ledger(
    services: &Services,
    record: &SandboxRecord,
    owned: &Owned,
) -> Result<(), StepError> {
    let state = save_state(services, record, SandboxPhase::Creating, owned);
    if record.spec.owner == Owner::Local {
        return state.await;
    }
    let facts = services
        .store
        .save(durability(record.spec.owner), record.id.as_str(), record);
    let (facts, state) = tokio::join!(facts, state);
    facts?;
    state
}

async fn save_state(
    services: &Services,
    record: &SandboxRecord,
    phase: SandboxPhase,
    owned: &Owned,
) -> Result<(), StepError> {
    let state = SandboxStateRecord {
        phase,
        attachment: owned.attachment.clone(),
        cni: owned.cni.clone(),
        cgroup: owned.cgroup.clone(),
    };
    services
        .store
        .save(Durability::Unsynced, record.id.as_str(), &state)
        .await?;
    Ok(())
}

fn prepare_directory(directory: &Path) -> Result<(), StepError> {
    match std::fs::create_dir(directory) {
        Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => Err(StepError::File {
            path: directory.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

async fn cgroup_and_files(
    services: &Services,
    record: &SandboxRecord,
    owned: &Owned,
    directory: &Path,
) -> Result<PodCgroup, StepError> {
    let cgroups = services.cgroups.clone();
    let path = owned.cgroup.as_ref().map(|cgroup| cgroup.path.clone());
    let addresses = network::addresses(owned.attachment.as_ref(), None);
    let texts = files::Texts::new(record, addresses);
    let directory = directory.to_owned();
    let limits = record.spec.limits.clone();
    let made = blocking(move || -> Result<_, StepError> {
        texts.write(&directory)?;
        let Some(path) = path else { return Ok(None) };
        let pod = cgroups.create_pod(&path)?;
        if !limits.is_empty() && cgroups.is_ours(&pod) {
            cgroups.update_pod(&pod, &limits)?;
        }
        Ok(Some(pod))
    })
    .await??;
    made.ok_or(StepError::Interrupted(Interrupted))
}

/// Returns what the process that holds a shared PID namespace is confined to, and what keeps that
/// until the process is there. What is made in the pod's cgroup is noted in `owned`.
async fn shared_pid(
    services: &Services,
    record: &SandboxRecord,
    owned: &mut Owned,
    mut pod: PodCgroup,
) -> Result<(SandboxPid, Elsewhere<Hold>), StepError> {
    let tree = services.cgroups.clone();
    let version = tree.version().number();
    let profile = Profile::default_profile();
    let seccomp = services.seccomp.get(&profile, Capabilities::from_bits(0))?;
    let id = record.id.clone();
    let made = blocking(move || {
        let made = tree.create_holder(&mut pod, &id);
        let made = made.map(|made| (made.directories, Elsewhere::new(made.hold)));
        (made, pod)
    });
    let (made, pod) = made.await?;
    // It may have been made where it could not be opened.
    owned.cgroup = Some(pod);
    let (directories, held) = made?;
    let pid = SandboxPid::Shared {
        cgroup: CgroupDirectories {
            version,
            directories,
        },
        seccomp: seccomp.to_vec(),
    };
    Ok((pid, held))
}

fn launch_spec(
    record: &SandboxRecord,
    directory: &Path,
    sysctls: BTreeMap<String, String>,
    joined: &Joined,
) -> LaunchSpec {
    let spec = &record.spec;
    let namespace = |scope| match scope {
        NamespaceScope::Host => Namespace::Host,
        NamespaceScope::Container | NamespaceScope::Sandbox => Namespace::Sandbox,
    };
    let network = match &spec.network {
        SandboxNetwork::Bridge | SandboxNetwork::None => Network::Sandbox,
        SandboxNetwork::Host => Network::Host,
        // The other container may itself share the host's.
        SandboxNetwork::Container(_) => joined
            .netns
            .as_ref()
            .and_then(|fd| fd.try_clone().ok())
            .map_or(Network::Host, Network::Join),
    };
    let pid = match spec.pid {
        NamespaceScope::Sandbox => SandboxPid::Shared {
            cgroup: CgroupDirectories::default(),
            seccomp: Vec::new(),
        },
        NamespaceScope::Container | NamespaceScope::Host => SandboxPid::PerContainer,
    };
    LaunchSpec {
        id: record.id.clone(),
        directory: directory.to_owned(),
        network,
        ipc: namespace(spec.ipc),
        uts: namespace(spec.uts),
        pid,
        user: spec.user_namespace.as_ref().map(id_mappings),
        hostname: files::hostname(record),
        domainname: spec.domainname.clone(),
        sysctls,
        shm_size: if spec.ipc == NamespaceScope::Host {
            0
        } else {
            spec.shm_size
        },
        mount_label: record.mount_label(),
    }
}

fn id_mappings(users: &UserNamespace) -> IdMappings {
    let one = |range: &IdRange| IdMapping {
        inside: range.inside,
        outside: range.outside,
        length: range.length,
    };
    IdMappings {
        uids: users.uids.iter().map(one).collect(),
        gids: users.gids.iter().map(one).collect(),
    }
}

impl Live {
    /// Says whether it is on the built-in bridge.
    pub(crate) fn is_bridged(&self) -> bool {
        matches!(self.attachment, Some(Attachment::Bridge(_)))
    }

    /// Returns what must be ended when the sandbox is.
    pub(crate) fn owned(&self) -> Owned {
        Owned {
            shim: Some(self.shim.clone()),
            shim_process: Some(Arc::clone(&self.shim_process)),
            attachment: self.attachment.clone(),
            cni: self.cni.clone(),
            cgroup: Some(self.cgroup.clone()),
            containers: Vec::new(),
        }
    }
}
