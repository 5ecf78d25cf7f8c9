//! A person's containers as `agent.v1` shows them.

use agent_core::container::restart::RestartPolicy;
use agent_core::container::spec::{ApparmorSpec, MountSource, MountSpec, Relabel, SeccompSpec};
use agent_core::container::state::{ContainerState, ExitReason};
use agent_core::node::Seen;
use agent_core::sandbox::spec::{NamespaceScope, SandboxNetwork, SelinuxSpec};
use agent_network::{Attachment, BridgeAttachment, PortMapping, Protocol};
use proto::agent;

use super::{local, unordered};

fn port(port: &PortMapping) -> agent::PortMapping {
    agent::PortMapping {
        protocol: match port.protocol {
            Protocol::Tcp => agent::Protocol::Tcp.into(),
            Protocol::Udp => agent::Protocol::Udp.into(),
            Protocol::Sctp => agent::Protocol::Sctp.into(),
        },
        container_port: port.container_port.into(),
        host_port: port.host_port.into(),
        host_ip: port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
    }
}

/// Returns the ports as they are published now, else as they were asked for.
fn ports(seen: &Seen) -> Vec<agent::PortMapping> {
    let attachment = seen
        .sandbox
        .live
        .as_ref()
        .and_then(|live| live.attachment.as_ref());
    match attachment {
        Some(attachment) => attachment.ports().iter().map(port).collect(),
        None => Vec::new(),
    }
}

pub(crate) fn mount(mount: &MountSpec) -> agent::Mount {
    let mut message = agent::Mount {
        destination: mount.destination.clone(),
        read_only: mount.readonly,
        ..agent::Mount::default()
    };
    match &mount.source {
        MountSource::Bind { path, .. } => {
            message.set_kind(agent::MountKind::Bind);
            message.source = path.to_string_lossy().into_owned();
            message.set_relabel(match mount.relabel {
                Relabel::No => agent::Relabel::Unspecified,
                Relabel::Private => agent::Relabel::Private,
                Relabel::Shared => agent::Relabel::Shared,
            });
        }
        // Kubelets alone ask for these.
        MountSource::Image { reference, .. } => message.source.clone_from(reference),
        MountSource::Tmpfs { size, mode } => {
            message.set_kind(agent::MountKind::Tmpfs);
            message.size = size.unwrap_or_default();
            message.mode = mode.unwrap_or_default();
        }
    }
    message
}

fn network(seen: &Seen) -> (agent::NetworkKind, String) {
    match &seen.sandbox.record.spec.network {
        SandboxNetwork::Bridge => (agent::NetworkKind::Bridge, String::new()),
        SandboxNetwork::Host => (agent::NetworkKind::Host, String::new()),
        SandboxNetwork::None => (agent::NetworkKind::None, String::new()),
        SandboxNetwork::Container(id) => (agent::NetworkKind::Container, id.to_string()),
    }
}

fn command(seen: &Seen) -> Vec<String> {
    let record = &seen.container.record;
    let spec = &record.spec;
    let mut command = match &spec.entrypoint {
        Some(entrypoint) => entrypoint.clone(),
        None => record.defaults.entrypoint.clone(),
    };
    if !spec.arguments.is_empty() {
        command.extend(spec.arguments.iter().cloned());
    } else if spec.entrypoint.is_none() {
        command.extend(record.defaults.command.iter().cloned());
    }
    command
}

/// Returns a container as List shows it.
pub(crate) fn listed(seen: &Seen) -> agent::Container {
    let record = &seen.container.record;
    let spec = &record.spec;
    let (kind, network_container) = network(seen);
    let mut message = agent::Container {
        id: record.id.to_string(),
        name: spec.metadata.name.clone(),
        image: spec.image.clone(),
        image_id: record.image.to_string(),
        command: command(seen),
        created_at: record.created_at.nanos(),
        labels: unordered(&spec.labels),
        ports: ports(seen),
        ips: seen.sandbox.ips().iter().map(ToString::to_string).collect(),
        network: kind.into(),
        network_container,
        mounts: spec.mounts.iter().map(mount).collect(),
        restart_count: seen.container.restarts,
        ..agent::Container::default()
    };
    match &seen.container.state {
        ContainerState::Created => message.set_state(agent::ContainerState::Created),
        ContainerState::Running { started_at, .. } => {
            message.set_state(agent::ContainerState::Running);
            message.started_at = started_at.nanos();
        }
        ContainerState::Exited(exit) => {
            message.set_state(agent::ContainerState::Exited);
            message.started_at = exit.started_at.map_or(0, |at| at.nanos());
            message.finished_at = exit.finished_at.nanos();
            message.exit_code = exit.code;
            message.reason = exit.reason.as_str().to_owned();
            message.message.clone_from(&exit.message);
        }
    }
    if seen.container.restarting {
        message.set_state(agent::ContainerState::Restarting);
    }
    message
}

fn spec(seen: &Seen) -> agent::ContainerSpec {
    let record = &seen.container.record;
    let spec = &record.spec;
    let text =
        |(name, value): &(String, Vec<u8>)| format!("{name}={}", String::from_utf8_lossy(value));
    agent::ContainerSpec {
        name: spec.metadata.name.clone(),
        image: spec.image.clone(),
        entrypoint: match &spec.entrypoint {
            Some(entrypoint) => entrypoint.clone(),
            None => record.defaults.entrypoint.clone(),
        },
        clear_entrypoint: spec.entrypoint.as_ref().is_some_and(Vec::is_empty),
        command: match (spec.arguments.is_empty(), &spec.entrypoint) {
            (true, None) => record.defaults.command.clone(),
            _ => spec.arguments.clone(),
        },
        env: env(&record.defaults.env, spec.env.iter().map(text)),
        working_dir: match &spec.working_directory {
            Some(directory) => directory.clone(),
            None => record.defaults.working_directory.clone(),
        },
        user: spec
            .user
            .clone()
            .unwrap_or_else(|| record.defaults.user.clone()),
        labels: unordered(&spec.labels),
        mounts: spec.mounts.iter().map(mount).collect(),
        terminal: spec.switches.terminal,
        stdin: spec.switches.stdin,
        stdin_once: spec.switches.stdin_once,
        resources: Some(resources(&spec.limits)),
        read_only: spec.switches.readonly_root,
        privileged: spec.switches.privileged,
        cap_add: spec.capabilities.add.clone(),
        cap_drop: spec.capabilities.drop.clone(),
        security_opt: security(spec, &seen.sandbox.record.spec.selinux),
        devices: spec.devices.iter().map(device).collect(),
        ulimits: spec.rlimits.iter().map(ulimit).collect(),
        stop_signal: record.stop_signal.to_string(),
        stop_timeout: u32::try_from(spec.stop_timeout.as_secs()).ok(),
        auto_remove: spec.switches.auto_remove,
        restart: restart(spec.restart),
        group_add: spec
            .supplemental_groups
            .iter()
            .map(ToString::to_string)
            .chain(spec.group_names.iter().cloned())
            .collect(),
        oom_score_adj: spec.oom_score_adj,
        exposed_ports: spec.exposed_ports.clone(),
        ..sandbox_of(seen)
    }
}

fn restart(policy: RestartPolicy) -> Option<agent::RestartPolicy> {
    let (kind, most) = match policy {
        RestartPolicy::Never => return None,
        RestartPolicy::OnFailure { most } => (agent::RestartKind::OnFailure, most),
        RestartPolicy::Always => (agent::RestartKind::Always, 0),
        RestartPolicy::UnlessStopped => (agent::RestartKind::UnlessStopped, 0),
    };
    Some(agent::RestartPolicy {
        kind: kind.into(),
        most,
    })
}

/// Returns what of a container's specification is its sandbox's.
fn sandbox_of(seen: &Seen) -> agent::ContainerSpec {
    let sandbox = &seen.sandbox.record.spec;
    let (kind, network_container) = network(seen);
    let host = |scope| match scope {
        NamespaceScope::Host => "host".to_owned(),
        NamespaceScope::Sandbox | NamespaceScope::Container => String::new(),
    };
    agent::ContainerSpec {
        hostname: match sandbox.hostname.as_str() {
            "" => seen.sandbox.record.id.short().to_owned(),
            name => name.to_owned(),
        },
        domainname: sandbox.domainname.clone(),
        network: kind.into(),
        network_container,
        ports: sandbox.ports.iter().map(port).collect(),
        dns_servers: sandbox
            .dns
            .servers
            .iter()
            .map(ToString::to_string)
            .collect(),
        dns_searches: sandbox.dns.searches.clone(),
        dns_options: sandbox.dns.options.clone(),
        extra_hosts: sandbox
            .extra_hosts
            .iter()
            .flat_map(|(ip, names)| names.iter().map(move |name| format!("{name}:{ip}")))
            .collect(),
        sysctls: unordered(&sandbox.sysctls),
        shm_size: sandbox.shm_size,
        pid_mode: host(sandbox.pid),
        init: sandbox.pid == NamespaceScope::Sandbox,
        ipc_mode: host(sandbox.ipc),
        uts_mode: host(sandbox.uts),
        ..agent::ContainerSpec::default()
    }
}

/// Returns the image's variables with the container's over them.
fn env(image: &[String], own: impl Iterator<Item = String>) -> Vec<String> {
    let name = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
    let mut all: Vec<String> = image.to_vec();
    for variable in own {
        all.retain(|other| name(other) != name(&variable));
        all.push(variable);
    }
    all
}

fn resources(limits: &agent_cgroup::Limits) -> agent::Resources {
    let millis = match (limits.cpu_quota, limits.cpu_period) {
        (Some(quota), Some(period)) if quota > 0 && period > 0 => {
            u64::try_from(quota)
                .unwrap_or_default()
                .saturating_mul(1000)
                / period
        }
        _ => 0,
    };
    // Another period than the usual one was asked for by its length.
    let own_period = limits
        .cpu_period
        .filter(|period| *period != local::CPU_PERIOD);
    let quota = limits.cpu_quota.and_then(|quota| u64::try_from(quota).ok());
    agent::Resources {
        cpu_quota: own_period.and(quota).unwrap_or_default(),
        cpu_period: own_period.unwrap_or_default(),
        memory: limits
            .memory
            .and_then(|memory| u64::try_from(memory).ok())
            .unwrap_or_default(),
        memory_swap: limits.memory_swap.unwrap_or_default(),
        cpu_millis: if own_period.is_some() { 0 } else { millis },
        cpu_shares: limits.cpu_shares.unwrap_or_default(),
        cpuset_cpus: limits.cpuset_cpus.clone().unwrap_or_default(),
        cpuset_mems: limits.cpuset_mems.clone().unwrap_or_default(),
        pids: limits.pids.unwrap_or_default(),
    }
}

fn security(
    spec: &agent_core::container::spec::ContainerSpec,
    selinux: &SelinuxSpec,
) -> Vec<String> {
    let mut options = Vec::new();
    if spec.switches.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    match &spec.seccomp {
        SeccompSpec::Default => {}
        SeccompSpec::Unconfined => options.push("seccomp=unconfined".to_owned()),
        SeccompSpec::Profile(json) => options.push(format!("seccomp={json}")),
    }
    match &spec.apparmor {
        ApparmorSpec::Unsaid | ApparmorSpec::Default => {}
        ApparmorSpec::Unconfined => options.push("apparmor=unconfined".to_owned()),
        ApparmorSpec::Profile(name) => options.push(format!("apparmor={name}")),
    }
    let wish = match selinux {
        SelinuxSpec::Wanted(wish) => wish,
        SelinuxSpec::Unconfined => {
            options.push("label=disable".to_owned());
            return options;
        }
    };
    for (part, text) in [
        ("user", &wish.user),
        ("role", &wish.role),
        ("type", &wish.kind),
        ("level", &wish.level),
    ] {
        if !text.is_empty() {
            options.push(format!("label={part}:{text}"));
        }
    }
    options
}

fn device(device: &agent_core::container::spec::DeviceSpec) -> agent::Device {
    agent::Device {
        host_path: device.host_path.to_string_lossy().into_owned(),
        container_path: device.container_path.clone(),
        permissions: device.access.clone(),
    }
}

fn ulimit(rlimit: &agent_oci::Rlimit) -> agent::Ulimit {
    agent::Ulimit {
        name: rlimit.name.clone(),
        soft: rlimit.soft,
        hard: rlimit.hard,
    }
}

fn bridge(seen: &Seen) -> Option<&BridgeAttachment> {
    match seen.sandbox.live.as_ref()?.attachment.as_ref()? {
        Attachment::Bridge(bridge) => Some(bridge),
        Attachment::Host { .. } | Attachment::None { .. } | Attachment::Container { .. } => None,
    }
}

/// Returns a container as Inspect shows it.
pub(crate) fn inspected(seen: &Seen) -> agent::InspectContainerResponse {
    let record = &seen.container.record;
    let bridge = bridge(seen);
    let user = seen.container.user.clone().unwrap_or_default();
    let mut response = agent::InspectContainerResponse {
        container: Some(listed(seen)),
        spec: Some(spec(seen)),
        log_path: record
            .log_path
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default(),
        cgroup_path: record.cgroup.to_string(),
        gateway: bridge
            .and_then(|bridge| bridge.ipv4)
            .map(|ipv4| ipv4.gateway.to_string())
            .unwrap_or_default(),
        mac_address: bridge
            .map(|bridge| bridge.mac.to_string())
            .unwrap_or_default(),
        sandbox_id: record.sandbox.to_string(),
        uid: user.uid,
        gid: user.gid,
        ..agent::InspectContainerResponse::default()
    };
    match &seen.container.state {
        ContainerState::Created => {}
        ContainerState::Running { pid, .. } => {
            response.pid = i32::try_from(*pid).unwrap_or_default();
        }
        ContainerState::Exited(exit) => {
            response.oom_killed = exit.reason == ExitReason::OomKilled;
        }
    }
    response
}
