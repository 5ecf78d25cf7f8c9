//! Containers between CRI and the node.

use std::collections::HashMap;
use std::time::Duration;

use agent_core::container::restart::RestartPolicy;
use agent_core::container::spec::{ContainerMetadata, ContainerSpec, LogSpec, Switches};
use agent_core::container::state::{ContainerState, ExitReason};
use agent_core::node::Seen;
use agent_core::sandbox::view::ContainerView;
use proto::cri;
use tonic::Status;

use super::{given, mount, ordered, security, unordered};
use crate::status::invalid;

/// Returns what a CreateContainer request asks for.
pub(crate) fn spec(
    mut config: cri::ContainerConfig,
    stop_timeout: Duration,
) -> Result<ContainerSpec, Status> {
    let metadata = named(config.metadata.take())?;
    let linux = config.linux.take().unwrap_or_default();
    let context = linux.security_context.unwrap_or_default();
    let switches = switches(&config, &context);
    let (pid, pid_target) = security::pid(&context)?;
    let user_namespace = super::users::wish(context.namespace_options.as_ref())?;
    let image = config
        .image
        .ok_or_else(|| invalid("config.image is missing"))?;
    let stop_signal = signal(config.stop_signal)?;
    let resources = linux.resources.unwrap_or_default();
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
        user: security::user(&context)?,
        host_namespaces: security::host_namespaces(&context)?,
        supplemental_groups: security::groups(&context.supplemental_groups)?,
        group_names: Vec::new(),
        mounts: config
            .mounts
            .into_iter()
            .map(mount::spec)
            .collect::<Result<_, _>>()?,
        devices: config.devices.into_iter().map(mount::device).collect(),
        cdi_devices: mount::cdi(config.cdi_devices),
        labels: ordered(config.labels),
        annotations: ordered(config.annotations),
        log: LogSpec {
            path: config.log_path,
            ..LogSpec::default()
        },
        terminal_size: None,
        oom_score_adj: Some(super::resources::oom_score(&resources)?),
        limits: super::resources::limits(resources),
        seccomp: security::seccomp(&context)?,
        apparmor: security::apparmor(&context)?,
        selinux: security::selinux(context.selinux_options),
        capabilities: security::capabilities(context.capabilities.unwrap_or_default()),
        masked_paths: Some(context.masked_paths).filter(|_| !switches.privileged),
        readonly_paths: Some(context.readonly_paths).filter(|_| !switches.privileged),
        rlimits: Vec::new(),
        pid,
        pid_target,
        user_namespace,
        exposed_ports: Vec::new(),
        stop_signal,
        stop_timeout,
        switches,
        restart: RestartPolicy::Never,
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
        // A caller that has resolved the name before gives an id.
        image: spec.image_name().to_owned(),
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
        mounts: spec
            .mounts
            .iter()
            .filter_map(|mount| mount::shown(mount, record))
            .collect(),
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
