//! Creating a container: facts first, then, where its sandbox stands, everything up to the
//! program's first instruction.

use std::path::PathBuf;
use std::sync::Arc;

use agent_cgroup::MINIMUM_MEMORY_LOCAL;
use agent_oci::ImageDefaults;
use agent_seccomp::Profile;
use agent_store::Durability;
use agent_types::{ContainerId, Owner, SnapshotKey};

use super::error::{CreateError, SpecError, StepError};
use super::restart::Wish;
use super::set_up::{build, prepare};
use super::spec::{
    ContainerRecord, ContainerSpec, ContainerStateRecord, ContainerUser, HostNamespace,
    SeccompSpec, UserNamespaceWish,
};
use super::state::ContainerState;
use super::{extras, image_mounts, log, own_volumes, remove, selinux};
use crate::exec::Template;
use crate::image::{HeldImage, ImageRecord};
use crate::metrics::Phase;
use crate::sandbox::spec::{NamespaceScope, SandboxNetwork, SandboxRecord};
use crate::sandbox::{Live, create::durability};
use crate::services::{Services, blocking};
use crate::time::Timestamp;

/// SIGTERM.
const DEFAULT_STOP_SIGNAL: i32 = 15;

/// A container that was set up.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) record: Arc<ContainerRecord>,
    /// Process id; 0 while it is not set up.
    pub(crate) pid: u32,
    pub(crate) user: Option<ContainerUser>,
    pub(crate) template: Option<Arc<Template>>,
    /// Keeps its images until the container is seen to use them.
    pub(crate) images: Vec<HeldImage>,
}

/// What a container is to be, and what of it only its sandbox's task could tell.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) spec: ContainerSpec,
    /// The container whose PID namespace it is to be in, if that is neither its own nor its
    /// sandbox's.
    pub(crate) pid_of: Option<ContainerId>,
}

/// Refuses what needs no look at the machine or the image.
pub(crate) fn check(
    services: &Services,
    sandbox: &SandboxRecord,
    spec: &ContainerSpec,
) -> Result<(), SpecError> {
    log::check(&spec.log.path)?;
    if spec.switches.privileged && !sandbox.spec.privileged {
        return Err(SpecError::Privileged);
    }
    check_users(sandbox, spec)?;
    if let Some(value) = spec
        .oom_score_adj
        .filter(|value| !(-1000..=1000).contains(value))
    {
        return Err(SpecError::OomScore { value });
    }
    let host = NamespaceScope::Host;
    if spec.pid == Some(host) && sandbox.spec.pid != host {
        return Err(SpecError::HostPid);
    }
    check_host_namespaces(sandbox, spec)?;
    let minimum = match sandbox.spec.owner {
        Owner::Cri => 0,
        Owner::Local => MINIMUM_MEMORY_LOCAL,
    };
    services.cgroups.validate(&spec.limits, minimum)?;
    if let SeccompSpec::Profile(json) = &spec.seccomp {
        Profile::from_json(json.as_bytes())?;
    }
    Ok(())
}

/// Refuses namespaces of the host that the sandbox is not in.
fn check_host_namespaces(sandbox: &SandboxRecord, spec: &ContainerSpec) -> Result<(), SpecError> {
    for namespace in &spec.host_namespaces {
        let (name, given) = match namespace {
            HostNamespace::Network => ("network", sandbox.spec.network == SandboxNetwork::Host),
            HostNamespace::Ipc => ("ipc", sandbox.spec.ipc == NamespaceScope::Host),
        };
        if !given {
            return Err(SpecError::HostNamespace { name });
        }
    }
    Ok(())
}

/// Refuses users that are not the sandbox's: all its containers have the same.
fn check_users(sandbox: &SandboxRecord, spec: &ContainerSpec) -> Result<(), SpecError> {
    let users = sandbox.spec.user_namespace.as_ref();
    let same = match &spec.user_namespace {
        UserNamespaceWish::Unsaid => true,
        UserNamespaceWish::Host => users.is_none(),
        UserNamespaceWish::Of(wanted) => users == Some(wanted),
    };
    if !same {
        return Err(SpecError::UserNamespace);
    }
    let mut shifted = spec.mounts.iter().filter(|mount| mount.ids.is_some());
    match shifted.find(|mount| mount.ids.as_ref() != users) {
        Some(mount) => Err(SpecError::MountIds {
            destination: mount.destination.clone(),
        }),
        None => Ok(()),
    }
}

/// Refuses mounts that the sandbox's runtime would make only in part read-only.
async fn check_read_only(
    services: &Services,
    sandbox: &SandboxRecord,
    spec: &ContainerSpec,
) -> Result<(), SpecError> {
    let mut mounts = spec.mounts.iter();
    let Some(mount) = mounts.find(|mount| mount.recursive_readonly) else {
        return Ok(());
    };
    let handler = &sandbox.spec.runtime_handler;
    if services.recursive_readonly(handler).await {
        return Ok(());
    }
    Err(SpecError::RecursiveReadonly {
        destination: mount.destination.clone(),
        handler: handler.clone(),
    })
}

/// Creates a container; undoes what was made where a step fails.
///
/// Without `live` (a person's container that is not started yet) only its facts and its writable
/// layer are made.
pub(crate) async fn create(
    services: &Arc<Services>,
    sandbox: &Arc<SandboxRecord>,
    live: Option<&Live>,
    id: ContainerId,
    wanted: Wanted,
) -> Result<Made, CreateError> {
    let (record, images) = resolve(services, sandbox, id, wanted).await?;
    let record = Arc::new(record);
    let step = |source| CreateError::Step {
        id: record.id.clone(),
        source: Box::new(source),
    };
    match record_and_make(services, sandbox, live, &record).await {
        Ok(made) => Ok(Made { images, ..made }),
        Err(source) => {
            // What cannot be undone now stays in the ledger, and the next pass tries again.
            drop(remove::clean(services, sandbox, &record, live).await);
            Err(step(source))
        }
    }
}

/// Writes the record, then makes what it says.
async fn record_and_make(
    services: &Arc<Services>,
    sandbox: &Arc<SandboxRecord>,
    live: Option<&Live>,
    record: &Arc<ContainerRecord>,
) -> Result<Made, StepError> {
    let durability = durability(sandbox.spec.owner);
    let written = services
        .store
        .save(durability, record.id.as_str(), record.as_ref());
    let Some(live) = live else {
        written.await?;
        let made = prepare_only(services, sandbox, record).await?;
        save_created(services, record).await?;
        return Ok(made);
    };
    let written = async { Ok(written.await?) };
    let (request, _admitted) = prepare(services, sandbox, live, record, written).await?;
    let phases = &services.phases;
    let set_up = request.set_up(phases, live, record);
    let set_up = phases.time(Phase::ContainerCreate, set_up);
    // Whoever finds the state and no process at the shim knows that nobody was told.
    let (made, saved) = tokio::join!(set_up, save_created(services, record));
    let made = made?;
    saved?;
    let state = ContainerStateRecord {
        state: ContainerState::Created,
        user: made.user.clone(),
        restarts: 0,
    };
    services
        .store
        .save_later(Durability::Unsynced, record.id.as_str(), &state)?;
    Ok(made)
}

async fn save_created(services: &Services, record: &ContainerRecord) -> Result<(), StepError> {
    let state = ContainerStateRecord {
        state: ContainerState::Created,
        user: None,
        restarts: 0,
    };
    services
        .store
        .save(Durability::Unsynced, record.id.as_str(), &state)
        .await?;
    Ok(())
}

/// Finds the image and turns the request into facts.
async fn resolve(
    services: &Services,
    sandbox: &SandboxRecord,
    id: ContainerId,
    wanted: Wanted,
) -> Result<(ContainerRecord, Vec<HeldImage>), CreateError> {
    let Wanted { spec, pid_of } = wanted;
    let name = spec.metadata.name.clone();
    let refused = |source| CreateError::Spec {
        name: name.clone(),
        source: Box::new(source),
    };
    check(services, sandbox, &spec).map_err(&refused)?;
    check_read_only(services, sandbox, &spec)
        .await
        .map_err(&refused)?;
    let held = services
        .images
        .hold(&spec.image)
        .map_err(|source| CreateError::Image {
            name: name.clone(),
            source,
        })?;
    let image = &held.image;
    let chain = services
        .images
        .ensure_unpacked(&image.id)
        .await
        .map_err(|source| CreateError::Layers {
            name: name.clone(),
            source: Box::new(source),
        })?;
    let cgroup = services
        .cgroups
        .pod_path(sandbox.spec.cgroup_parent.as_deref(), &sandbox.id)
        .and_then(|pod| services.cgroups.container_path(&pod, &id))
        .map_err(|error| refused(error.into()))?;
    let stop_signal = match spec.stop_signal {
        Some(signal) => signal,
        None => image_stop_signal(image).map_err(&refused)?,
    };
    let (image_mounts, mut images) = image_mounts::resolve(services, &spec).await?;
    let record = ContainerRecord {
        sandbox: sandbox.id.clone(),
        image: image.id.clone(),
        chain,
        image_mounts,
        own_volumes: own_volumes::of(&image.config.volumes, &spec.mounts),
        extras: extras::find(services, sandbox, &spec).await?,
        selinux: selinux::labels(services, sandbox, &spec).map_err(&refused)?,
        pid_of,
        defaults: defaults(image),
        stop_signal,
        cgroup,
        log_path: log::absolute(&log_directory(services, sandbox), &spec.log.path),
        created_at: Timestamp::now(),
        wish: Wish::default(),
        id,
        spec,
    };
    images.push(held);
    Ok((record, images))
}

fn image_stop_signal(image: &ImageRecord) -> Result<i32, SpecError> {
    match &image.config.stop_signal {
        Some(text) if !text.is_empty() => {
            agent_oci::parse_signal(text).map_err(|source| SpecError::StopSignal { source })
        }
        _ => Ok(DEFAULT_STOP_SIGNAL),
    }
}

fn defaults(image: &ImageRecord) -> ImageDefaults {
    let config = &image.config;
    ImageDefaults {
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone().unwrap_or_default(),
        command: config.cmd.clone().unwrap_or_default(),
        working_directory: config.working_dir.clone(),
        user: config.user.clone(),
    }
}

pub(crate) fn log_directory(services: &Services, sandbox: &SandboxRecord) -> PathBuf {
    match &sandbox.spec.log_directory {
        Some(directory) => directory.clone(),
        None => services.paths().logs(&sandbox.id),
    }
}

async fn prepare_only(
    services: &Arc<Services>,
    sandbox: &Arc<SandboxRecord>,
    record: &Arc<ContainerRecord>,
) -> Result<Made, StepError> {
    let (services, sandbox) = (Arc::clone(services), Arc::clone(sandbox));
    let made = Arc::clone(record);
    blocking(move || -> Result<Made, StepError> {
        build(&services, &sandbox, &made)?;
        if !made.spec.log.path.is_empty() {
            // Clients follow the log before there is a line in it.
            log::create(&log_directory(&services, &sandbox), &made.spec.log.path)?;
        }
        services
            .snapshots
            .prepare(&SnapshotKey::from(&made.id), made.chain.as_ref())?;
        Ok(Made {
            record: made,
            pid: 0,
            user: None,
            template: None,
            images: Vec::new(),
        })
    })
    .await?
}
