//! Containers between CRI and the node.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use agent_core::container::spec::{
    ContainerMetadata, ContainerSpec, DeviceSpec, LogSpec, MountSource, MountSpec, SeccompSpec,
    Switches,
};
use agent_core::container::state::{ContainerState, ExitReason};
use agent_core::node::Seen;
use agent_core::sandbox::spec::NamespaceScope;
use agent_core::sandbox::view::ContainerView;
use agent_oci::{CapabilityPlan, Propagation};
use proto::cri;
use tonic::Status;

use super::{given, ordered, unordered};
use crate::status::invalid;

/// Text before a seccomp profile's path.
const PROFILE_READ: &str = "seccomp profile";

/// Largest seccomp profile read, in bytes.
const MAX_PROFILE: u64 = 1 << 20;

/// Returns what a CreateContainer request asks for.
pub(crate) fn spec(
    mut config: cri::ContainerConfig,
    stop_timeout: Duration,
) -> Result<ContainerSpec, Status> {
    let metadata = named(config.metadata.take())?;
    let linux = config.linux.take().unwrap_or_default();
    let context = linux.security_context.unwrap_or_default();
    refuse_unsupported(&context)?;
    let switches = switches(&config, &context);
    let pid = pid(&context)?;
    let image = config
        .image
        .ok_or_else(|| invalid("config.image is missing"))?;
    if !config.cdi_devices.is_empty() {
        return Err(invalid("CDI devices are not supported by this node"));
    }
    let stop_signal = signal(config.stop_signal)?;
    let resources = linux.resources.unwrap_or_default();
    let oom_score_adj = i32::try_from(resources.oom_score_adj)
        .map_err(|_| invalid("oom_score_adj is out of range"))?;
    Ok(ContainerSpec {
        metadata,
        user_image: image.user_specified_image,
        image: image.image,
        entrypoint: (!config.command.is_empty()).then_some(config.command),
        arguments: config.args,
        env: config
            .envs
            .into_iter()
            .map(|env| (env.key, env.value))
            .collect(),
        working_directory: given(config.working_dir),
        user: user(&context)?,
        supplemental_groups: groups(&context.supplemental_groups)?,
        group_names: Vec::new(),
        mounts: config
            .mounts
            .into_iter()
            .map(mount)
            .collect::<Result<_, _>>()?,
        devices: config.devices.into_iter().map(device).collect(),
        labels: ordered(config.labels),
        annotations: ordered(config.annotations),
        log: LogSpec {
            path: config.log_path,
            ..LogSpec::default()
        },
        terminal_size: None,
        limits: super::resources::limits(resources),
        oom_score_adj: Some(oom_score_adj),
        capabilities: capabilities(context.capabilities.unwrap_or_default()),
        seccomp: seccomp(context.seccomp.as_ref(), &context.seccomp_profile_path)?,
        masked_paths: Some(context.masked_paths).filter(|_| !switches.privileged),
        readonly_paths: Some(context.readonly_paths).filter(|_| !switches.privileged),
        rlimits: Vec::new(),
        pid,
        exposed_ports: Vec::new(),
        stop_signal,
        stop_timeout,
        switches,
    })
}

fn named(metadata: Option<cri::ContainerMetadata>) -> Result<ContainerMetadata, Status> {
    let metadata = metadata.ok_or_else(|| invalid("config.metadata is missing"))?;
    if metadata.name.is_empty() {
        return Err(invalid("config.metadata.name is empty"));
    }
    Ok(ContainerMetadata {
        name: metadata.name,
        attempt: metadata.attempt,
    })
}

fn switches(
    config: &cri::ContainerConfig,
    context: &cri::LinuxContainerSecurityContext,
) -> Switches {
    Switches {
        terminal: config.tty,
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        privileged: context.privileged,
        no_new_privileges: context.no_new_privs,
        readonly_root: context.readonly_rootfs,
        strict_groups: context.supplemental_groups_policy()
            == cri::SupplementalGroupsPolicy::Strict,
        auto_remove: false,
    }
}

/// Refuses what this node does not do yet, rather than leaving it out.
fn refuse_unsupported(context: &cri::LinuxContainerSecurityContext) -> Result<(), Status> {
    let options = context.namespace_options.clone().unwrap_or_default();
    if options.pid() == cri::NamespaceMode::Target {
        return Err(invalid(
            "pid namespace mode TARGET is not supported by this node",
        ));
    }
    if let Some(selinux) = &context.selinux_options
        && !(selinux.user.is_empty()
            && selinux.role.is_empty()
            && selinux.r#type.is_empty()
            && selinux.level.is_empty())
    {
        return Err(invalid("SELinux is not enabled on this node"));
    }
    let localhost = context.apparmor.as_ref().is_some_and(|profile| {
        profile.profile_type() == cri::security_profile::ProfileType::Localhost
    });
    if localhost || context.apparmor_profile.starts_with("localhost/") {
        return Err(invalid("AppArmor is not supported by this node"));
    }
    Ok(())
}

/// Returns whose PID namespace is asked for.
fn pid(context: &cri::LinuxContainerSecurityContext) -> Result<Option<NamespaceScope>, Status> {
    let options = context.namespace_options.as_ref();
    options
        .map(|options| super::sandbox::scope(options.pid, "pid"))
        .transpose()
}

fn user(context: &cri::LinuxContainerSecurityContext) -> Result<Option<String>, Status> {
    let id = |value: &Option<cri::Int64Value>, name: &str| {
        value
            .as_ref()
            .map(|value| {
                u32::try_from(value.value)
                    .map_err(|_| invalid(format!("{name} {} is out of range", value.value)))
            })
            .transpose()
    };
    let uid = id(&context.run_as_user, "run_as_user")?;
    let gid = id(&context.run_as_group, "run_as_group")?;
    let user = match (uid, context.run_as_username.as_str()) {
        (Some(_), name) if !name.is_empty() => {
            return Err(invalid("run_as_user and run_as_username are both given"));
        }
        (Some(uid), _) => Some(uid.to_string()),
        (None, "") => None,
        (None, name) => Some(name.to_owned()),
    };
    match (user, gid) {
        (Some(user), Some(gid)) => Ok(Some(format!("{user}:{gid}"))),
        (None, Some(_)) => Err(invalid(
            "run_as_group is given without run_as_user or run_as_username",
        )),
        (user, None) => Ok(user),
    }
}

fn groups(groups: &[i64]) -> Result<Vec<u32>, Status> {
    groups
        .iter()
        .map(|group| {
            u32::try_from(*group)
                .map_err(|_| invalid(format!("supplemental group {group} is out of range")))
        })
        .collect()
}

fn capabilities(message: cri::Capability) -> CapabilityPlan {
    CapabilityPlan {
        add: message.add_capabilities,
        drop: message.drop_capabilities,
        ambient: message.add_ambient_capabilities,
    }
}

/// Returns the filter asked for. A container that names none is unconfined, as CRI says.
fn seccomp(profile: Option<&cri::SecurityProfile>, path: &str) -> Result<SeccompSpec, Status> {
    use cri::security_profile::ProfileType;
    let localhost = |path: &str| read_profile(path).map(SeccompSpec::Profile);
    match profile {
        Some(profile) => match profile.profile_type() {
            ProfileType::RuntimeDefault => Ok(SeccompSpec::Default),
            ProfileType::Unconfined => Ok(SeccompSpec::Unconfined),
            ProfileType::Localhost => localhost(&profile.localhost_ref),
        },
        None => match path {
            "" | "unconfined" => Ok(SeccompSpec::Unconfined),
            "runtime/default" | "docker/default" => Ok(SeccompSpec::Default),
            path => localhost(path.strip_prefix("localhost/").unwrap_or(path)),
        },
    }
}

fn read_profile(path: &str) -> Result<String, Status> {
    let refused = |why: String| invalid(format!("{PROFILE_READ} {path:?} {why}"));
    let path = PathBuf::from(path);
    if !path.is_absolute() {
        return Err(refused("is not an absolute path".to_owned()));
    }
    let metadata =
        std::fs::metadata(&path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    if !metadata.is_file() || metadata.len() > MAX_PROFILE {
        return Err(refused("is no file of at most 1 MiB".to_owned()));
    }
    std::fs::read_to_string(&path).map_err(|error| refused(format!("cannot be read: {error}")))
}

fn mount(mount: cri::Mount) -> Result<MountSpec, Status> {
    let refused = |why: &str| invalid(format!("mount at {:?} {why}", mount.container_path));
    if mount.image.is_some() {
        return Err(refused("is of an image, which this node does not support"));
    }
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        return Err(refused("maps ids, which this node does not support"));
    }
    if !mount.mount_options.is_empty() {
        return Err(refused(
            "has mount options, which this node does not support",
        ));
    }
    if mount.selinux_relabel {
        // Without SELinux there is nothing to relabel, as every runtime has it.
    }
    if mount.host_path.is_empty() {
        return Err(refused("has no host path"));
    }
    let propagation = match mount.propagation() {
        cri::MountPropagation::PropagationPrivate => Propagation::Private,
        cri::MountPropagation::PropagationHostToContainer => Propagation::HostToContainer,
        cri::MountPropagation::PropagationBidirectional => Propagation::Bidirectional,
    };
    if mount.recursive_read_only && (!mount.readonly || propagation != Propagation::Private) {
        return Err(refused(
            "is recursively read-only, which needs readonly and private propagation",
        ));
    }
    Ok(MountSpec {
        source: MountSource::Bind {
            path: mount.host_path.into(),
            create: true,
        },
        destination: mount.container_path,
        readonly: mount.readonly,
        recursive_readonly: mount.recursive_read_only,
        propagation,
    })
}

fn device(device: cri::Device) -> DeviceSpec {
    DeviceSpec {
        host_path: device.host_path.into(),
        container_path: device.container_path,
        access: device.permissions,
    }
}

/// Returns the number of a signal; `None` for the image's own.
fn signal(value: i32) -> Result<Option<i32>, Status> {
    let signal = cri::Signal::try_from(value)
        .map_err(|_| invalid(format!("stop signal {value} is unknown")))?;
    if signal == cri::Signal::RuntimeDefault {
        return Ok(None);
    }
    // The names are those of signal(7), with words for + and -.
    let name = signal
        .as_str_name()
        .trim_start_matches("SIGNAL_")
        .replace("PLUS", "+")
        .replace("MINUS", "-");
    agent_oci::parse_signal(&name)
        .map(Some)
        .map_err(|error| crate::status::of(&error))
}

/// Returns the enum's value for a signal's number.
fn shown_signal(number: i32) -> cri::Signal {
    (1..=65)
        .filter_map(|value| cri::Signal::try_from(value).ok())
        .find(|candidate| signal((*candidate).into()).ok().flatten() == Some(number))
        .unwrap_or(cri::Signal::RuntimeDefault)
}

const fn state(view: &ContainerView) -> cri::ContainerState {
    match &view.state {
        ContainerState::Created => cri::ContainerState::ContainerCreated,
        ContainerState::Running { .. } => cri::ContainerState::ContainerRunning,
        ContainerState::Exited(_) => cri::ContainerState::ContainerExited,
    }
}

fn metadata(view: &ContainerView) -> cri::ContainerMetadata {
    let metadata = &view.record.spec.metadata;
    cri::ContainerMetadata {
        name: metadata.name.clone(),
        attempt: metadata.attempt,
    }
}

fn image(view: &ContainerView) -> cri::ImageSpec {
    let spec = &view.record.spec;
    cri::ImageSpec {
        image: spec.image.clone(),
        user_specified_image: spec.user_image.clone(),
        image_ref: view.record.image.to_string(),
        ..cri::ImageSpec::default()
    }
}

/// Returns a container as ListContainers shows it.
pub(crate) fn listed(view: &ContainerView) -> cri::Container {
    let record = &view.record;
    cri::Container {
        id: record.id.to_string(),
        pod_sandbox_id: record.sandbox.to_string(),
        metadata: Some(metadata(view)),
        image: Some(image(view)),
        image_ref: record.image.to_string(),
        state: state(view).into(),
        created_at: record.created_at.nanos(),
        labels: unordered(&record.spec.labels),
        annotations: unordered(&record.spec.annotations),
        image_id: record.image.to_string(),
    }
}

/// Returns whether a container passes a filter.
pub(crate) fn passes(seen: &Seen, filter: Option<&cri::ContainerFilter>) -> bool {
    let Some(filter) = filter else {
        return true;
    };
    let record = &seen.container.record;
    let wanted = filter.state.as_ref().map(cri::ContainerStateValue::state);
    record.id.as_str().starts_with(&filter.id)
        && record.sandbox.as_str().starts_with(&filter.pod_sandbox_id)
        && wanted.is_none_or(|wanted| wanted == state(&seen.container))
        && super::selected(&record.spec.labels, &filter.label_selector)
}

/// Returns a container as ContainerStatus shows it.
pub(crate) fn status(view: &ContainerView) -> cri::ContainerStatus {
    let record = &view.record;
    let spec = &record.spec;
    let mut status = cri::ContainerStatus {
        id: record.id.to_string(),
        metadata: Some(metadata(view)),
        state: state(view).into(),
        created_at: record.created_at.nanos(),
        image: Some(image(view)),
        image_ref: record.image.to_string(),
        labels: unordered(&spec.labels),
        annotations: unordered(&spec.annotations),
        mounts: spec.mounts.iter().filter_map(shown_mount).collect(),
        log_path: record
            .log_path
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default(),
        resources: Some(super::resources::shown(&spec.limits, spec.oom_score_adj)),
        image_id: record.image.to_string(),
        user: view.user.as_ref().map(|user| cri::ContainerUser {
            linux: Some(cri::LinuxContainerUser {
                uid: i64::from(user.uid),
                gid: i64::from(user.gid),
                supplemental_groups: user.groups.iter().copied().map(i64::from).collect(),
            }),
        }),
        stop_signal: shown_signal(record.stop_signal).into(),
        ..cri::ContainerStatus::default()
    };
    match &view.state {
        ContainerState::Created => {}
        ContainerState::Running { started_at, .. } => status.started_at = started_at.nanos(),
        ContainerState::Exited(exit) => {
            status.started_at = exit.started_at.map_or(0, |at| at.nanos());
            status.finished_at = exit.finished_at.nanos();
            status.exit_code = exit.code;
            status.reason = exit.reason.as_str().to_owned();
            status.message = exit.message.clone();
            if exit.reason == ExitReason::StartError && status.started_at == 0 {
                // A container that ended has begun, as its readers reckon.
                status.started_at = exit.finished_at.nanos();
            }
        }
    }
    status
}

fn shown_mount(mount: &MountSpec) -> Option<cri::Mount> {
    let MountSource::Bind { path, .. } = &mount.source else {
        return None;
    };
    let propagation = match mount.propagation {
        Propagation::Private => cri::MountPropagation::PropagationPrivate,
        Propagation::HostToContainer => cri::MountPropagation::PropagationHostToContainer,
        Propagation::Bidirectional => cri::MountPropagation::PropagationBidirectional,
    };
    Some(cri::Mount {
        container_path: mount.destination.clone(),
        host_path: path.to_string_lossy().into_owned(),
        readonly: mount.readonly,
        recursive_read_only: mount.recursive_readonly,
        propagation: propagation.into(),
        ..cri::Mount::default()
    })
}

/// Returns a whole ContainerStatus response.
pub(crate) fn status_response(
    seen: &Seen,
    in_force: &agent_cgroup::Limits,
    verbose: bool,
) -> cri::ContainerStatusResponse {
    let mut info = HashMap::new();
    if verbose {
        let record = &seen.container.record;
        info.insert("cgroup".to_owned(), record.cgroup.to_string());
        info.insert("sandbox".to_owned(), record.sandbox.to_string());
        if let ContainerState::Running { pid, .. } = seen.container.state {
            info.insert("pid".to_owned(), pid.to_string());
        }
    }
    let score = seen.container.record.spec.oom_score_adj;
    cri::ContainerStatusResponse {
        status: Some(cri::ContainerStatus {
            resources: Some(super::resources::shown(in_force, score)),
            ..status(&seen.container)
        }),
        info,
    }
}
