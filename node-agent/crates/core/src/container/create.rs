//! Creating a container: facts first, then, where its sandbox stands, everything up to the
//! program's first instruction.

use std::path::PathBuf;
use std::sync::Arc;

use agent_cgroup::{DeviceRules, MINIMUM_MEMORY_LOCAL};
use agent_oci::ImageDefaults;
use agent_seccomp::{Bpf, Capabilities, Profile};
use agent_shim_client::{
    CgroupDirectories, ContainerPid, ContainerStdio, CreateContainer, Log, Root, Rotation, Stdin,
    TerminalSize, User,
};
use agent_types::{ContainerId, Owner, SnapshotKey};

use super::error::{CreateError, SpecError, StepError};
use super::plan::{Found, pid_scope, plan};
use super::spec::{
    ContainerRecord, ContainerSpec, ContainerStateRecord, ContainerUser, SeccompSpec,
};
use super::state::ContainerState;
use super::{devices, log, remove, volumes};
use crate::exec::Template;
use crate::image::{HeldImage, ImageRecord};
use crate::sandbox::spec::{NamespaceScope, SandboxRecord};
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
    /// Keeps the image until the container is seen to use it.
    pub(crate) image: Option<HeldImage>,
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

/// Creates a container; undoes what was made where a step fails.
///
/// Without `live` (a person's container that is not started yet) only its facts and its writable
/// layer are made.
pub(crate) async fn create(
    services: &Arc<Services>,
    sandbox: &Arc<SandboxRecord>,
    live: Option<&Live>,
    id: ContainerId,
    spec: ContainerSpec,
) -> Result<Made, CreateError> {
    let (record, image) = resolve(services, sandbox, id, spec).await?;
    let record = Arc::new(record);
    let step = |source| CreateError::Step {
        id: record.id.clone(),
        source: Box::new(source),
    };
    let durability = durability(sandbox.spec.owner);
    services
        .store
        .save(durability, record.id.as_str(), record.as_ref())
        .await
        .map_err(|error| step(error.into()))?;
    match finish(services, sandbox, live, &record).await {
        Ok(made) => Ok(Made {
            image: Some(image),
            ..made
        }),
        Err(source) => {
            // What cannot be undone now stays in the ledger, and the next pass tries again.
            drop(remove::clean(services, sandbox, &record, None).await);
            Err(step(source))
        }
    }
}

async fn finish(
    services: &Arc<Services>,
    sandbox: &Arc<SandboxRecord>,
    live: Option<&Live>,
    record: &Arc<ContainerRecord>,
) -> Result<Made, StepError> {
    let made = match live {
        Some(live) => set_up(services, sandbox, live, record).await?,
        None => prepare_only(services, sandbox, record).await?,
    };
    let state = ContainerStateRecord {
        state: ContainerState::Created,
        user: made.user.clone(),
    };
    services
        .store
        .save(
            agent_store::Durability::Unsynced,
            record.id.as_str(),
            &state,
        )
        .await?;
    Ok(made)
}

/// Finds the image and turns the request into facts.
async fn resolve(
    services: &Services,
    sandbox: &SandboxRecord,
    id: ContainerId,
    spec: ContainerSpec,
) -> Result<(ContainerRecord, HeldImage), CreateError> {
    let name = spec.metadata.name.clone();
    let refused = |source| CreateError::Spec {
        name: name.clone(),
        source: Box::new(source),
    };
    check(services, sandbox, &spec).map_err(&refused)?;
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
        .and_then(|pod| pod.join(id.as_str()))
        .map_err(|error| refused(error.into()))?;
    let stop_signal = match spec.stop_signal {
        Some(signal) => signal,
        None => image_stop_signal(image).map_err(&refused)?,
    };
    let record = ContainerRecord {
        sandbox: sandbox.id.clone(),
        image: image.id.clone(),
        chain,
        defaults: defaults(image),
        stop_signal,
        cgroup,
        log_path: log::absolute(&log_directory(services, sandbox), &spec.log.path),
        created_at: Timestamp::now(),
        id,
        spec,
    };
    Ok((record, held))
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
            image: None,
        })
    })
    .await?
}

/// Makes cgroup, writable layer, log and specification, and has the shim set the process up.
pub(crate) async fn set_up(
    services: &Arc<Services>,
    sandbox: &Arc<SandboxRecord>,
    live: &Live,
    record: &Arc<ContainerRecord>,
) -> Result<Made, StepError> {
    unpack_again(services, record).await?;
    let _admitted = services.starts.acquire().await;
    let prepared = {
        let (services, sandbox) = (Arc::clone(services), Arc::clone(sandbox));
        let record = Arc::clone(record);
        blocking(move || prepare(&services, &sandbox, &record)).await??
    };
    let created = live.shim.create_container(prepared.request).await?;
    Ok(Made {
        record: Arc::clone(record),
        pid: created.pid,
        user: Some(ContainerUser {
            uid: created.uid,
            gid: created.gid,
            groups: created.groups,
        }),
        template: Some(Arc::new(prepared.template)),
        image: None,
    })
}

/// Makes layers whole that a power cut has cost since the container was created.
async fn unpack_again(services: &Services, record: &ContainerRecord) -> Result<(), StepError> {
    let is_there = |chain| services.snapshots.contains(chain);
    if !record.chain.as_ref().is_none_or(is_there) {
        let unpacked = services.images.ensure_unpacked(&record.image).await;
        unpacked.map_err(|source| StepError::Layers(Box::new(source)))?;
    }
    Ok(())
}

struct Prepared {
    request: CreateContainer,
    template: Template,
}

/// Everything before the shim's part; blocking.
fn prepare(
    services: &Services,
    sandbox: &SandboxRecord,
    record: &ContainerRecord,
) -> Result<Prepared, StepError> {
    let spec = &record.spec;
    let switches = spec.switches;
    let mounts = volumes::take(record)?;
    let built = build(services, sandbox, record)?;
    let cgroup = services
        .cgroups
        .create(&record.cgroup, &spec.limits, &device_rules(&built)?)?;
    let layer = services
        .snapshots
        .prepare(&SnapshotKey::from(&record.id), record.chain.as_ref())?;
    let log = match spec.log.path.as_str() {
        "" => None,
        path => {
            let place = log::open(&log_directory(services, sandbox), path)?;
            Some(Log {
                directory: place.directory,
                file_name: place.file_name,
                rotation: (spec.log.max_bytes > 0).then_some(Rotation {
                    max_size: spec.log.max_bytes,
                    max_files: spec.log.max_files,
                }),
            })
        }
    };
    let seccomp = filter(services, spec, built.capabilities)?;
    let template = Template::new(&built, spec);
    let request = CreateContainer {
        id: record.id.clone(),
        spec: serde_json::to_vec(&built.spec)?,
        root: Root {
            base: layer.base,
            lower: layer.lower,
            upper: Some(layer.upper.into()),
            work: Some(layer.work.into()),
            volatile: sandbox.spec.owner == Owner::Cri,
        },
        user: User {
            text: built.user,
            supplemental_groups: spec.supplemental_groups.clone(),
            group_names: spec.group_names.clone(),
            strict_groups: switches.strict_groups,
        },
        seccomp: seccomp.map(|bpf| bpf.to_vec()).unwrap_or_default(),
        mounts,
        log,
        stdio: stdio(spec),
        pid: match pid_scope(&sandbox.spec, spec) {
            NamespaceScope::Container => ContainerPid::Own,
            NamespaceScope::Sandbox => ContainerPid::Sandbox,
            NamespaceScope::Host => ContainerPid::Host,
        },
        cgroup: CgroupDirectories {
            version: services.cgroups.version().number(),
            directories: cgroup.attach_directories()?,
        },
    };
    Ok(Prepared { request, template })
}

fn stdio(spec: &ContainerSpec) -> ContainerStdio {
    let switches = spec.switches;
    if switches.terminal {
        let (rows, columns) = spec.terminal_size.unwrap_or_default();
        return ContainerStdio::Terminal(TerminalSize { rows, columns });
    }
    let stdin = match (switches.stdin, switches.stdin_once) {
        (false, _) => Stdin::None,
        (true, false) => Stdin::Open,
        (true, true) => Stdin::Once,
    };
    ContainerStdio::Pipes { stdin }
}

fn build(
    services: &Services,
    sandbox: &SandboxRecord,
    record: &ContainerRecord,
) -> Result<agent_oci::Built, SpecError> {
    let found = Found {
        devices: devices::find(&record.spec)?,
        last_capability: services.last_capability,
        masked_paths: services.masked_paths.clone(),
    };
    let directory = services.paths().sandbox(&sandbox.id);
    Ok(agent_oci::build(&plan(sandbox, record, &directory, found))?)
}

/// Returns the template for processes run in a container that was found running.
pub(crate) fn template(
    services: &Services,
    sandbox: &SandboxRecord,
    record: &ContainerRecord,
) -> Result<Template, SpecError> {
    let built = build(services, sandbox, record)?;
    Ok(Template::new(&built, &record.spec))
}

/// Returns the cgroup's device rules, as the specification lists them.
fn device_rules(built: &agent_oci::Built) -> Result<DeviceRules, StepError> {
    Ok(DeviceRules::from_spec(&built.device_rules).map_err(SpecError::from)?)
}

/// Returns the filter a container asks for; `None`: none.
pub(crate) fn filter(
    services: &Services,
    spec: &ContainerSpec,
    capabilities: u64,
) -> Result<Option<Bpf>, StepError> {
    let profile = match &spec.seccomp {
        SeccompSpec::Unconfined => return Ok(None),
        SeccompSpec::Default => Profile::default_profile(),
        SeccompSpec::Profile(json) => {
            Profile::from_json(json.as_bytes()).map_err(SpecError::from)?
        }
    };
    if spec.switches.privileged {
        return Ok(None);
    }
    let capabilities = Capabilities::from_bits(capabilities);
    Ok(Some(services.seccomp.get(&profile, capabilities)?))
}
