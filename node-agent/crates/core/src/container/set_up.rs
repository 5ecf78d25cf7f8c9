//! Setting a container up: everything up to its program's first instruction.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use agent_cgroup::DeviceRules;
use agent_oci::DevicePlan;
use agent_seccomp::{Bpf, Capabilities, Profile};
use agent_shim_client::{
    CgroupDirectories, ContainerPid, ContainerStdio, CreateContainer, ImageMount, Log,
    OtherRuntime, Root, Rotation, Stdin, TerminalSize, User, VolumeMount,
};
use agent_snapshot::WritableLayer;
use agent_types::{Owner, SnapshotKey};
use tokio::sync::{AcquireError, SemaphorePermit, oneshot};

use super::create::{Made, log_directory};
use super::error::{SpecError, StepError};
use super::pid::{self, PidNamespace};
use super::plan::{Found, plan};
use super::spec::{ContainerRecord, ContainerSpec, ContainerUser, SeccompSpec};
use super::{apparmor, devices, image_mounts, log, other, volumes};
use crate::elsewhere::Elsewhere;
use crate::exec::Template;
use crate::metrics::{Phase, Phases};
use crate::sandbox::Live;
use crate::sandbox::spec::SandboxRecord;
use crate::services::{Interrupted, Services, blocking};

/// Makes cgroup, writable layer, log and specification, and has the shim set the process up.
pub(crate) async fn set_up(
    services: &Arc<Services>,
    sandbox: &Arc<SandboxRecord>,
    live: &Live,
    record: &Arc<ContainerRecord>,
) -> Result<Made, StepError> {
    image_mounts::unpack_again(services, record).await?;
    let written = async { Ok(()) };
    let (request, _admitted) = prepare(services, sandbox, live, record, written).await?;
    let phases = &services.phases;
    let set_up = request.set_up(phases, live, record);
    phases.time(Phase::ContainerCreate, set_up).await
}

/// Makes what a container's process needs, once its record is `written`; what can be found out
/// without making anything is found out meanwhile, also about a container that is then refused.
pub(super) async fn prepare<'a>(
    services: &'a Arc<Services>,
    sandbox: &Arc<SandboxRecord>,
    live: &Live,
    record: &Arc<ContainerRecord>,
    written: impl Future<Output = Result<(), StepError>>,
) -> Result<(Request, Result<SemaphorePermit<'a>, AcquireError>), StepError> {
    let phases = &services.phases;
    let (tell, rules) = oneshot::channel();
    let planned = Planned::find(services, sandbox, live, record, tell);
    let planned = phases.time(Phase::ContainerPlan, planned);
    let ground = async {
        written.await?;
        let admitted = services.starts.acquire().await;
        let ground = Ground::make(services, sandbox, record, rules);
        let ground = phases.time(Phase::ContainerMake, ground).await?;
        Ok::<_, StepError>((ground, admitted))
    };
    let (planned, ground) = tokio::join!(planned, ground);
    // What is wrong with the plan is why nothing stands on the ground.
    let (planned, (ground, admitted)) = (planned?, ground?);
    Ok((planned.on(ground, services, sandbox, record), admitted))
}

/// All that can be known of a container before anything of it is made.
pub(super) struct Planned {
    /// The process, and what it is set up with.
    built: agent_oci::Built,
    spec: Vec<u8>,
    mounts: Vec<VolumeMount>,
    images: Vec<ImageMount>,
    log: Option<Log>,
    seccomp: Vec<u8>,
    runtime: Option<OtherRuntime>,
    /// The host's mounts, which another runtime and hooks need.
    host_mounts: Option<OwnedFd>,
}

/// What a container's process is set up on.
struct Ground {
    layer: WritableLayer,
    /// The cgroup, where it is held until the process is in it.
    held: Elsewhere<agent_cgroup::Made>,
    directories: Vec<OwnedFd>,
}

/// What the shim is asked for, everything it needs having been made.
pub(super) struct Request {
    create: CreateContainer,
    /// The cgroup, where it is held until the process is in it.
    held: Elsewhere<agent_cgroup::Made>,
    template: Template,
}

impl Planned {
    pub(super) async fn find(
        services: &Arc<Services>,
        sandbox: &Arc<SandboxRecord>,
        live: &Live,
        record: &Arc<ContainerRecord>,
        tell: oneshot::Sender<DeviceRules>,
    ) -> Result<Self, StepError> {
        let (services, sandbox) = (Arc::clone(services), Arc::clone(sandbox));
        let record = Arc::clone(record);
        let users = live.user_namespace.clone();
        blocking(move || Self::find_blocking(&services, &sandbox, users.as_deref(), &record, tell))
            .await?
    }

    fn find_blocking(
        services: &Services,
        sandbox: &SandboxRecord,
        users: Option<&OwnedFd>,
        record: &ContainerRecord,
        tell: oneshot::Sender<DeviceRules>,
    ) -> Result<Self, StepError> {
        let spec = &record.spec;
        apparmor::check(services, spec)?;
        let mounts = volumes::take(sandbox, users, record)?;
        let images = image_mounts::of(services, record)?;
        let mut built = build(services, sandbox, record)?;
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
        let runtime = other::find(services, sandbox)?;
        let hooks = !record.extras.hooks.is_empty();
        let host_mounts = match runtime.is_some() || hooks {
            true => Some(
                File::open("/proc/self/ns/mnt")
                    .map_err(StepError::HostMounts)?
                    .into(),
            ),
            false => None,
        };
        let seccomp = match &runtime {
            None => filter(services, spec, built.capabilities)?,
            Some(_) => None,
        };
        if runtime.is_some() {
            other::complete(services, sandbox, spec, &mut built)?;
        } else if hooks {
            other::tell_annotations(services, sandbox, spec, &mut built)?;
        }
        // Nobody hears it where the making has failed.
        let _ = tell.send(device_rules(&built)?);
        Ok(Self {
            spec: serde_json::to_vec(&built.spec)?,
            seccomp: seccomp.map(|bpf| bpf.to_vec()).unwrap_or_default(),
            mounts,
            images,
            log,
            runtime,
            host_mounts,
            built,
        })
    }

    /// Returns the request for a container that is to stand on `ground`.
    fn on(
        self,
        ground: Ground,
        services: &Services,
        sandbox: &SandboxRecord,
        record: &ContainerRecord,
    ) -> Request {
        let layer = ground.layer;
        let spec = &record.spec;
        let create = CreateContainer {
            id: record.id.clone(),
            spec: self.spec,
            root: Root {
                base: layer.base,
                lower: layer.lower,
                upper: Some(layer.upper.into()),
                work: Some(layer.work.into()),
                volatile: sandbox.spec.owner == Owner::Cri,
                label: record.mount_label(),
            },
            user: user(self.built.user.clone(), record),
            seccomp: self.seccomp,
            mounts: self.mounts,
            images: self.images,
            own_volumes: record.own_volumes.clone(),
            log: self.log,
            stdio: stdio(spec),
            pid: pid_namespace(sandbox, record),
            cgroup: CgroupDirectories {
                version: services.cgroups.version().number(),
                directories: ground.directories,
            },
            runtime: self.runtime,
            hooks: !record.extras.hooks.is_empty(),
            host_mounts: self.host_mounts,
        };
        Request {
            create,
            held: ground.held,
            template: Template::new(&self.built, record),
        }
    }
}

impl Ground {
    /// Makes cgroup and writable layer, side by side; the cgroup is complete when its device
    /// `rules` have come.
    async fn make(
        services: &Arc<Services>,
        sandbox: &Arc<SandboxRecord>,
        record: &Arc<ContainerRecord>,
        rules: oneshot::Receiver<DeviceRules>,
    ) -> Result<Self, StepError> {
        let layer = {
            let (services, record) = (Arc::clone(services), Arc::clone(record));
            blocking(move || {
                let key = SnapshotKey::from(&record.id);
                services.snapshots.prepare(&key, record.chain.as_ref())
            })
        };
        let cgroup = {
            let (services, record) = (Arc::clone(services), Arc::clone(record));
            let sandbox = Arc::clone(sandbox);
            blocking(move || -> Result<_, StepError> {
                let (limits, of_pod) = (&record.spec.limits, &sandbox.spec.limits);
                let begun = services
                    .cgroups
                    .begin_in_pod(&record.cgroup, limits, of_pod)?;
                // Without a plan it goes again.
                let rules = rules.blocking_recv().map_err(|_| Interrupted)?;
                let cgroup = begun.finish(&rules)?;
                let directories = cgroup.attach_directories()?;
                let held = cgroup.is_held().then_some(cgroup);
                Ok((Elsewhere::new(held), directories))
            })
        };
        let phases = &services.phases;
        let layer = phases.time(Phase::ContainerLayer, layer);
        let cgroup = phases.time(Phase::ContainerCgroup, cgroup);
        let (layer, cgroup) = tokio::join!(layer, cgroup);
        let (layer, (held, directories)) = (layer??, cgroup??);
        Ok(Self {
            layer,
            held,
            directories,
        })
    }
}

impl Request {
    /// Has the shim set the process up.
    pub(super) async fn set_up(
        self,
        phases: &Phases,
        live: &Live,
        record: &Arc<ContainerRecord>,
    ) -> Result<Made, StepError> {
        let created = live.shim.create_container(self.create).await;
        // Also where that failed: what holds the cgroup is a process in it.
        let settled = match self.held.take() {
            Some(cgroup) => blocking(move || cgroup.settle().map(drop)).await?,
            None => Ok(()),
        };
        let created = created?;
        settled?;
        if let Some(times) = &created.times {
            phases.took(Phase::ContainerClone, times.begun, times.born);
            phases.took(Phase::ContainerJoin, times.born, times.joined);
            phases.took(Phase::ContainerMount, times.joined, times.mounted);
        }
        Ok(Made {
            record: Arc::clone(record),
            pid: created.pid,
            user: Some(ContainerUser {
                uid: created.uid,
                gid: created.gid,
                groups: created.groups,
            }),
            template: Some(Arc::new(self.template)),
            images: Vec::new(),
        })
    }
}

fn user(text: String, record: &ContainerRecord) -> User {
    User {
        text,
        supplemental_groups: record.groups(),
        group_names: record.spec.group_names.clone(),
        strict_groups: record.spec.switches.strict_groups,
    }
}

fn pid_namespace(sandbox: &SandboxRecord, record: &ContainerRecord) -> ContainerPid {
    match pid::of(&sandbox.spec, record) {
        PidNamespace::Own => ContainerPid::Own,
        PidNamespace::Sandbox => ContainerPid::Sandbox,
        PidNamespace::Host => ContainerPid::Host,
        PidNamespace::Of(container) => ContainerPid::Target(container),
    }
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

pub(super) fn build(
    services: &Services,
    sandbox: &SandboxRecord,
    record: &ContainerRecord,
) -> Result<agent_oci::Built, SpecError> {
    build_with(services, sandbox, record, devices::find(record)?)
}

fn build_with(
    services: &Services,
    sandbox: &SandboxRecord,
    record: &ContainerRecord,
    devices: Vec<DevicePlan>,
) -> Result<agent_oci::Built, SpecError> {
    let found = Found {
        devices,
        last_capability: services.last_capability,
        masked_paths: services.masked_paths.clone(),
        apparmor_profile: apparmor::profile(services, &record.spec),
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
    // A process needs none of the container's devices, and the host's may be gone by now.
    let built = build_with(services, sandbox, record, Vec::new())?;
    Ok(Template::new(&built, record))
}

/// Returns the cgroup's device rules, as the specification lists them.
fn device_rules(built: &agent_oci::Built) -> Result<DeviceRules, StepError> {
    Ok(DeviceRules::from_spec(&built.device_rules).map_err(SpecError::from)?)
}

/// Returns the seccomp profile a container is confined by; `None`: none.
pub(super) fn profile(spec: &ContainerSpec) -> Result<Option<Profile>, SpecError> {
    let profile = match &spec.seccomp {
        SeccompSpec::Unconfined => return Ok(None),
        SeccompSpec::Default => Profile::default_profile(),
        SeccompSpec::Profile(json) => Profile::from_json(json.as_bytes())?,
    };
    Ok((!spec.switches.privileged).then_some(profile))
}

/// Returns the filter a container asks for; `None`: none.
pub(crate) fn filter(
    services: &Services,
    spec: &ContainerSpec,
    capabilities: u64,
) -> Result<Option<Bpf>, StepError> {
    let Some(profile) = profile(spec)? else {
        return Ok(None);
    };
    let capabilities = Capabilities::from_bits(capabilities);
    Ok(Some(services.seccomp.get(&profile, capabilities)?))
}
