//! Between this crate's words and those on the wire.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_types::IdError;
use proto_shim as wire;
use proto_shim::FdRole;

use crate::error::{Refusal, RequestError};
use crate::report::{ContainerReport, CreateTimes, Created, ExecExit, ExitReport};
use crate::request::{
    CgroupDirectories, ContainerPid, ContainerStdio, CreateContainer, Exec, ExecStdio, IdMapping,
    IdMappings, ImageMount, LaunchSpec, Namespace, Network, Root, SandboxPid, Stdin,
};

/// Descriptors that go with a message.
pub(crate) type Descriptors = Vec<(FdRole, OwnedFd)>;

/// Returns the text of a path of ours: all of them are made of ids and configured text.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Returns the time that many nanoseconds after the epoch; `None` for 0, which means never.
fn time(nanoseconds: i64) -> Option<SystemTime> {
    let nanoseconds = u64::try_from(nanoseconds).ok().filter(|n| *n > 0)?;
    Some(UNIX_EPOCH + Duration::from_nanos(nanoseconds))
}

/// Returns a process id as the system counts them, which is never negative.
pub(crate) fn pid(pid: i32) -> u32 {
    u32::try_from(pid).unwrap_or(0)
}

fn push_cgroup(cgroup: CgroupDirectories, fds: &mut Descriptors) -> u32 {
    let CgroupDirectories {
        version,
        directories,
    } = cgroup;
    let directories = directories.into_iter();
    fds.extend(directories.map(|directory| (FdRole::CgroupDirectory, directory)));
    version
}

impl From<Namespace> for wire::NamespaceMode {
    fn from(namespace: Namespace) -> Self {
        match namespace {
            Namespace::Sandbox => Self::Sandbox,
            Namespace::Host => Self::Host,
        }
    }
}

/// Returns the request to launch a shim and copies of the descriptors it needs.
pub(crate) fn launch(spec: &LaunchSpec) -> std::io::Result<(wire::LaunchRequest, Descriptors)> {
    let mut fds = Descriptors::new();
    let network = match &spec.network {
        Network::Sandbox => wire::NamespaceMode::Sandbox,
        Network::Host => wire::NamespaceMode::Host,
        Network::Join(netns) => {
            fds.push((FdRole::NetworkNamespace, netns.try_clone()?));
            wire::NamespaceMode::Join
        }
        Network::Made(netns) => {
            fds.push((FdRole::NetworkNamespace, netns.try_clone()?));
            wire::NamespaceMode::Sandbox
        }
    };
    let mut request = wire::LaunchRequest {
        fds: Vec::new(),
        sandbox_id: spec.id.to_string(),
        directory: text(&spec.directory),
        namespaces: None,
        hostname: spec.hostname.clone(),
        domainname: spec.domainname.clone(),
        sysctls: spec.sysctls.clone(),
        shm_size: spec.shm_size,
        cgroup_version: 0,
        reaper_seccomp: Vec::new(),
        user_namespace: spec.user.as_ref().map(Into::into),
        mount_label: spec.mount_label.clone().unwrap_or_default(),
        network_made: matches!(spec.network, Network::Made(_)),
    };
    let shared = match &spec.pid {
        SandboxPid::PerContainer => wire::NamespaceMode::Container,
        SandboxPid::Shared { cgroup, seccomp } => {
            for directory in &cgroup.directories {
                fds.push((FdRole::CgroupDirectory, directory.try_clone()?));
            }
            request.cgroup_version = cgroup.version;
            request.reaper_seccomp.clone_from(seccomp);
            wire::NamespaceMode::Sandbox
        }
    };
    request.namespaces = Some(wire::Namespaces {
        network: network.into(),
        ipc: wire::NamespaceMode::from(spec.ipc).into(),
        uts: wire::NamespaceMode::from(spec.uts).into(),
        pid: shared.into(),
    });
    Ok((request, fds))
}

impl From<&IdMappings> for wire::UserNamespace {
    fn from(ids: &IdMappings) -> Self {
        let one = |mapping: &IdMapping| wire::IdMapping {
            inside: mapping.inside,
            outside: mapping.outside,
            length: mapping.length,
        };
        Self {
            uids: ids.uids.iter().map(one).collect(),
            gids: ids.gids.iter().map(one).collect(),
        }
    }
}

impl From<Root> for wire::RootFilesystem {
    fn from(root: Root) -> Self {
        Self {
            base: text(&root.base),
            lower: root.lower,
            upper: root.upper.as_deref().map(text).unwrap_or_default(),
            work: root.work.as_deref().map(text).unwrap_or_default(),
            volatile: root.volatile,
            label: root.label.unwrap_or_default(),
        }
    }
}

impl From<ImageMount> for wire::ImageMount {
    fn from(image: ImageMount) -> Self {
        Self {
            destination: image.destination,
            lower: image.lower,
            sub_path: image.sub_path,
        }
    }
}

/// Returns the request to create a container and the descriptors it takes along.
pub(crate) fn create_container(create: CreateContainer) -> (wire::CreateContainer, Descriptors) {
    let mut fds = Descriptors::new();
    let cgroup_version = push_cgroup(create.cgroup, &mut fds);
    let mut mount_destinations = Vec::with_capacity(create.mounts.len());
    for volume in create.mounts {
        mount_destinations.push(volume.destination);
        fds.push((FdRole::Mount, volume.mount));
    }
    let log = create.log.map(|log| {
        fds.push((FdRole::LogDirectory, log.directory));
        wire::Log {
            file_name: log.file_name,
            max_size: log.rotation.map_or(0, |rotation| rotation.max_size),
            max_files: log.rotation.map_or(0, |rotation| rotation.max_files),
        }
    });
    let (stdin, size) = match create.stdio {
        ContainerStdio::Pipes { stdin } => (stdin, None),
        ContainerStdio::Terminal(size) => (Stdin::None, Some(size)),
    };
    if let Some(mounts) = create.host_mounts {
        fds.push((FdRole::MountNamespace, mounts));
    }
    let runtime = create.runtime.map(|runtime| text(&runtime.program));
    let runtime = runtime.unwrap_or_default();
    let (pid_mode, pid_target) = match create.pid {
        ContainerPid::Own => (wire::NamespaceMode::Container, String::new()),
        ContainerPid::Sandbox => (wire::NamespaceMode::Sandbox, String::new()),
        ContainerPid::Host => (wire::NamespaceMode::Host, String::new()),
        ContainerPid::Target(container) => (wire::NamespaceMode::Join, container.into()),
    };
    let request = wire::CreateContainer {
        container_id: create.id.into(),
        spec: create.spec,
        root: Some(create.root.into()),
        user: create.user.text,
        supplemental_groups: create.user.supplemental_groups,
        group_names: create.user.group_names,
        strict_groups: create.user.strict_groups,
        seccomp: create.seccomp,
        mount_destinations,
        log,
        stdin: stdin != Stdin::None,
        stdin_once: stdin == Stdin::Once,
        terminal: size.is_some(),
        terminal_rows: size.unwrap_or_default().rows.into(),
        terminal_columns: size.unwrap_or_default().columns.into(),
        pid_mode: pid_mode.into(),
        pid_target,
        volumes: create.own_volumes,
        image_mounts: create.images.into_iter().map(Into::into).collect(),
        cgroup_version,
        runtime,
        hooks: create.hooks,
    };
    (request, fds)
}

/// Returns the request to run a program.
pub(crate) fn exec(exec: Exec) -> wire::Exec {
    let size = match exec.stdio {
        ExecStdio::Pipes { .. } => None,
        ExecStdio::Terminal(size) => Some(size),
    };
    // 0 would mean never.
    let timeout_ms = exec.timeout.map_or(0, |timeout| {
        u64::try_from(timeout.as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    });
    wire::Exec {
        exec_id: exec.id.into(),
        container_id: exec.container.into(),
        process: exec.process,
        user: exec.user.text,
        supplemental_groups: exec.user.supplemental_groups,
        group_names: exec.user.group_names,
        strict_groups: exec.user.strict_groups,
        seccomp: exec.seccomp,
        terminal: size.is_some(),
        terminal_rows: size.unwrap_or_default().rows.into(),
        terminal_columns: size.unwrap_or_default().columns.into(),
        timeout_ms,
    }
}

fn create_times(times: &wire::CreateTimes) -> Option<CreateTimes> {
    Some(CreateTimes {
        begun: time(times.begun)?,
        born: time(times.born)?,
        joined: time(times.joined)?,
        mounted: time(times.mounted)?,
    })
}

impl From<wire::Created> for Created {
    fn from(created: wire::Created) -> Self {
        Self {
            pid: pid(created.pid),
            uid: created.uid,
            gid: created.gid,
            groups: created.groups,
            times: created.times.as_ref().and_then(create_times),
        }
    }
}

impl TryFrom<wire::ContainerExited> for ExitReport {
    type Error = IdError;

    fn try_from(exited: wire::ContainerExited) -> Result<Self, IdError> {
        Ok(Self {
            id: exited.container_id.try_into()?,
            exit_code: exited.exit_code,
            signal: (exited.signal != 0).then_some(exited.signal),
            started_at: time(exited.started_at),
            finished_at: time(exited.finished_at).unwrap_or(UNIX_EPOCH),
            oom_killed: exited.oom_killed,
            start_error: (!exited.start_error.is_empty()).then_some(exited.start_error),
            dropped_log_lines: exited.dropped_log_lines,
        })
    }
}

impl TryFrom<wire::ContainerReport> for ContainerReport {
    type Error = IdError;

    fn try_from(report: wire::ContainerReport) -> Result<Self, IdError> {
        Ok(Self {
            id: report.container_id.try_into()?,
            pid: pid(report.pid),
            started_at: time(report.started_at),
            exited: report.exited.map(ExitReport::try_from).transpose()?,
        })
    }
}

impl TryFrom<wire::ExecExited> for ExecExit {
    type Error = IdError;

    fn try_from(exited: wire::ExecExited) -> Result<Self, IdError> {
        Ok(Self {
            id: exited.exec_id.try_into()?,
            exit_code: exited.exit_code,
            signal: (exited.signal != 0).then_some(exited.signal),
            timed_out: exited.timed_out,
        })
    }
}

/// Returns the time in a `Started` reply.
pub(crate) fn started_at(started: wire::Started) -> SystemTime {
    time(started.started_at).unwrap_or(UNIX_EPOCH)
}

impl From<wire::ErrorCode> for Refusal {
    fn from(code: wire::ErrorCode) -> Self {
        match code {
            wire::ErrorCode::NotFound => Self::NotFound,
            wire::ErrorCode::AlreadyExists => Self::AlreadyExists,
            wire::ErrorCode::Invalid => Self::Invalid,
            wire::ErrorCode::State => Self::State,
            wire::ErrorCode::ProgramNotFound => Self::ProgramNotFound,
            wire::ErrorCode::ProgramNotExecutable => Self::ProgramNotExecutable,
            // A newer shim may have codes that this agent does not know.
            wire::ErrorCode::Internal | wire::ErrorCode::Unspecified => Self::Internal,
        }
    }
}

impl From<wire::Error> for RequestError {
    fn from(error: wire::Error) -> Self {
        Self::Refused {
            refusal: error.code().into(),
            errno: error.errno,
            message: error.message,
        }
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
