//! A person's containers between `agent.v1` and the node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use agent_cgroup::Limits;
use agent_core::container::restart::RestartPolicy;
use agent_core::container::spec::{
    ContainerMetadata, ContainerSpec, DeviceSpec, LogSpec, MountSource, MountSpec, Relabel,
    Switches, UserNamespaceWish,
};
use agent_core::node::LocalSpec;
use agent_core::sandbox::spec::{
    DnsSpec, NamespaceScope, SandboxMetadata, SandboxNetwork, SandboxSpec,
};
use agent_core::services::Settings;
use agent_network::{PortMapping, Protocol};
use agent_oci::{CapabilityPlan, Propagation, Rlimit};
use agent_types::{ContainerId, Owner};
use proto::agent;
use tonic::Status;

use super::security_options::SecurityOptions;
use super::{given, ordered};
use crate::status::{self, invalid};

/// Name of the log file of a person's container.
const LOG: &str = "container.log";

/// Period of the processor time limit, in microseconds.
pub(crate) const CPU_PERIOD: u64 = 100_000;

/// Returns what a Create request asks for. `network_of` finds the container whose network is
/// shared, by any of its names.
pub(crate) fn spec(
    spec: agent::ContainerSpec,
    name: String,
    settings: &Settings,
    network_of: impl FnOnce(&str) -> Option<ContainerId>,
) -> Result<LocalSpec, Status> {
    let network = network(&spec, network_of)?;
    let security = SecurityOptions::parse(&spec.security_opt)?;
    let sandbox = sandbox(&spec, &security, name.clone(), network, settings)?;
    let container = container(spec, name, security, settings)?;
    Ok(LocalSpec { sandbox, container })
}

fn network(
    spec: &agent::ContainerSpec,
    network_of: impl FnOnce(&str) -> Option<ContainerId>,
) -> Result<SandboxNetwork, Status> {
    match spec.network() {
        agent::NetworkKind::Unspecified | agent::NetworkKind::Bridge => Ok(SandboxNetwork::Bridge),
        agent::NetworkKind::Host => Ok(SandboxNetwork::Host),
        agent::NetworkKind::None => Ok(SandboxNetwork::None),
        agent::NetworkKind::Container => network_of(&spec.network_container)
            .map(SandboxNetwork::Container)
            .ok_or_else(|| {
                Status::not_found(format!(
                    "container {} does not exist, so its network cannot be shared",
                    spec.network_container
                ))
            }),
    }
}

fn sandbox(
    spec: &agent::ContainerSpec,
    security: &SecurityOptions,
    name: String,
    network: SandboxNetwork,
    settings: &Settings,
) -> Result<SandboxSpec, Status> {
    let ports = spec.ports.iter().map(port).collect::<Result<Vec<_>, _>>()?;
    if network != SandboxNetwork::Bridge && !ports.is_empty() {
        return Err(invalid("ports can be published on the bridge network only"));
    }
    let uts = match (&network, spec.uts_mode.as_str()) {
        (SandboxNetwork::Host, "") | (_, "host") => NamespaceScope::Host,
        (_, "") => NamespaceScope::Sandbox,
        (_, other) => return Err(invalid(format!("uts mode {other:?} is not known"))),
    };
    Ok(SandboxSpec {
        owner: Owner::Local,
        metadata: SandboxMetadata {
            name,
            ..SandboxMetadata::default()
        },
        hostname: spec.hostname.clone(),
        domainname: spec.domainname.clone(),
        log_directory: None,
        dns: DnsSpec {
            servers: super::name_servers(&spec.dns_servers)?,
            searches: spec.dns_searches.clone(),
            options: spec.dns_options.clone(),
        },
        extra_hosts: spec
            .extra_hosts
            .iter()
            .map(|line| extra_host(line))
            .collect::<Result<_, _>>()?,
        ports,
        labels: ordered(spec.labels.clone()),
        annotations: BTreeMap::new(),
        cgroup_parent: None,
        limits: Limits::default(),
        network,
        // The process that holds a shared namespace is an init: it reaps, and signals pass it by.
        pid: match scope(&spec.pid_mode, "pid", NamespaceScope::Container)? {
            NamespaceScope::Container if spec.init => NamespaceScope::Sandbox,
            pid => pid,
        },
        ipc: scope(&spec.ipc_mode, "ipc", NamespaceScope::Sandbox)?,
        uts,
        user_namespace: None,
        selinux: security.selinux.clone(),
        sysctls: ordered(spec.sysctls.clone()),
        shm_size: match spec.shm_size {
            0 => settings.shm_bytes,
            size => size,
        },
        runtime_handler: String::new(),
        privileged: spec.privileged,
    })
}

fn scope(mode: &str, name: &str, own: NamespaceScope) -> Result<NamespaceScope, Status> {
    match mode {
        "" | "private" => Ok(own),
        "host" => Ok(NamespaceScope::Host),
        other => Err(invalid(format!("{name} mode {other:?} is not known"))),
    }
}

/// Reads `NAME:IP` or `NAME=IP`.
fn extra_host(line: &str) -> Result<(IpAddr, Vec<String>), Status> {
    let refused = || invalid(format!("host {line:?} is not NAME:IP"));
    let (name, ip) = line.split_once(['=', ':']).ok_or_else(refused)?;
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr = ip.parse().map_err(|_| refused())?;
    Ok((ip, vec![name.to_owned()]))
}

fn port(mapping: &agent::PortMapping) -> Result<PortMapping, Status> {
    let number = |value: u32, name: &str| {
        u16::try_from(value).map_err(|_| invalid(format!("{name} port {value} is out of range")))
    };
    let host_ip: Option<IpAddr> = match mapping.host_ip.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| invalid(format!("{text:?} is not an address")))?,
        ),
    };
    Ok(PortMapping {
        protocol: match mapping.protocol() {
            agent::Protocol::Unspecified | agent::Protocol::Tcp => Protocol::Tcp,
            agent::Protocol::Udp => Protocol::Udp,
            agent::Protocol::Sctp => Protocol::Sctp,
        },
        host_ip: host_ip.filter(|ip| !ip.is_unspecified()),
        host_port: number(mapping.host_port, "host")?,
        container_port: number(mapping.container_port, "container")?,
    })
}

fn container(
    spec: agent::ContainerSpec,
    name: String,
    security: SecurityOptions,
    settings: &Settings,
) -> Result<ContainerSpec, Status> {
    let switches = switches(&spec, &security);
    let restart = restart(&spec)?;
    let env = spec.env.iter().map(|text| variable(text)).collect();
    let mounts = spec.mounts.iter().map(mount).collect::<Result<_, _>>()?;
    let (supplemental_groups, group_names) = groups(spec.group_add)?;
    let stop_signal = given(spec.stop_signal);
    let stop_signal = stop_signal.map(|text| signal(&text)).transpose()?;
    let resources = spec.resources.unwrap_or_default();
    Ok(ContainerSpec {
        metadata: ContainerMetadata { name, attempt: 0 },
        image: spec.image,
        user_image: String::new(),
        entrypoint: (spec.clear_entrypoint || !spec.entrypoint.is_empty())
            .then_some(spec.entrypoint),
        arguments: spec.command,
        env,
        working_directory: given(spec.working_dir),
        user: given(spec.user),
        supplemental_groups,
        group_names,
        mounts,
        devices: spec.devices.into_iter().map(device).collect(),
        cdi_devices: Vec::new(),
        labels: ordered(spec.labels),
        annotations: BTreeMap::new(),
        log: LogSpec {
            path: LOG.to_owned(),
            max_bytes: settings.log_max_bytes,
            max_files: settings.log_max_files,
        },
        terminal_size: spec.terminal_size.map(|size| size_of(&size)),
        limits: limits(resources),
        oom_score_adj: spec.oom_score_adj,
        capabilities: CapabilityPlan {
            add: spec.cap_add,
            drop: spec.cap_drop,
            ambient: Vec::new(),
        },
        seccomp: security.seccomp,
        apparmor: security.apparmor,
        selinux: security.selinux.wish(),
        masked_paths: None,
        readonly_paths: None,
        rlimits: spec.ulimits.into_iter().map(rlimit).collect(),
        pid: None,
        pid_target: None,
        host_namespaces: Vec::new(),
        user_namespace: UserNamespaceWish::Unsaid,
        exposed_ports: spec.exposed_ports,
        stop_signal,
        stop_timeout: spec.stop_timeout.map_or(settings.stop_timeout, |seconds| {
            Duration::from_secs(seconds.into())
        }),
        switches,
        restart,
    })
}

fn restart(spec: &agent::ContainerSpec) -> Result<RestartPolicy, Status> {
    let wanted = spec.restart.unwrap_or_default();
    let policy = match wanted.kind() {
        agent::RestartKind::Unspecified => RestartPolicy::Never,
        agent::RestartKind::OnFailure => RestartPolicy::OnFailure { most: wanted.most },
        agent::RestartKind::Always => RestartPolicy::Always,
        agent::RestartKind::UnlessStopped => RestartPolicy::UnlessStopped,
    };
    if wanted.most != 0 && !matches!(policy, RestartPolicy::OnFailure { .. }) {
        return Err(invalid("only restarts on failure can be limited in number"));
    }
    if spec.auto_remove && policy != RestartPolicy::Never {
        return Err(invalid(
            "a container that is removed when it ends cannot be restarted",
        ));
    }
    Ok(policy)
}

fn switches(spec: &agent::ContainerSpec, security: &SecurityOptions) -> Switches {
    Switches {
        terminal: spec.terminal,
        stdin: spec.stdin,
        stdin_once: spec.stdin_once,
        privileged: spec.privileged,
        no_new_privileges: security.no_new_privileges,
        readonly_root: spec.read_only,
        // As docker has it: a group that is named leaves the group file alone.
        strict_groups: spec.user.contains(':'),
        auto_remove: spec.auto_remove,
    }
}

/// Returns the number of a signal by name or number.
pub(crate) fn signal(text: &str) -> Result<i32, Status> {
    agent_oci::parse_signal(text).map_err(|error| status::of(&error))
}

/// Returns rows and columns.
pub(crate) fn size_of(size: &agent::TerminalSize) -> (u16, u16) {
    let fit = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    (fit(size.rows), fit(size.columns))
}

/// Splits `KEY=value`; a name alone has an empty value.
pub(crate) fn variable(text: &str) -> (String, Vec<u8>) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.as_bytes().to_vec())
}

/// Tells numbers from names, which only the image's group file knows.
fn groups(all: Vec<String>) -> Result<(Vec<u32>, Vec<String>), Status> {
    let (mut numbers, mut names) = (Vec::new(), Vec::new());
    for text in all {
        match text.parse() {
            Ok(number) => numbers.push(number),
            Err(_) if !text.is_empty() && !text.bytes().all(|byte| byte.is_ascii_digit()) => {
                names.push(text);
            }
            Err(_) => return Err(invalid(format!("{text:?} is not a group"))),
        }
    }
    Ok((numbers, names))
}

fn mount(mount: &agent::Mount) -> Result<MountSpec, Status> {
    let source = match mount.kind() {
        agent::MountKind::Unspecified | agent::MountKind::Bind => {
            if !mount.source.starts_with('/') {
                return Err(invalid(format!(
                    "mount source {:?} is not an absolute path",
                    mount.source
                )));
            }
            MountSource::Bind {
                path: mount.source.clone().into(),
                create: true,
            }
        }
        agent::MountKind::Tmpfs => MountSource::Tmpfs {
            size: (mount.size > 0).then_some(mount.size),
            mode: (mount.mode > 0).then_some(mount.mode),
        },
    };
    Ok(MountSpec {
        source,
        destination: mount.destination.clone(),
        readonly: mount.read_only,
        recursive_readonly: false,
        propagation: Propagation::Private,
        options: Vec::new(),
        ids: None,
        relabel: match mount.relabel() {
            agent::Relabel::Unspecified => Relabel::No,
            agent::Relabel::Private => Relabel::Private,
            agent::Relabel::Shared => Relabel::Shared,
        },
    })
}

fn device(device: agent::Device) -> DeviceSpec {
    DeviceSpec {
        container_path: match device.container_path {
            path if path.is_empty() => device.host_path.clone(),
            path => path,
        },
        access: match device.permissions {
            access if access.is_empty() => "rwm".to_owned(),
            access => access,
        },
        host_path: device.host_path.into(),
    }
}

fn rlimit(ulimit: agent::Ulimit) -> Rlimit {
    Rlimit {
        name: ulimit.name,
        soft: ulimit.soft,
        hard: ulimit.hard,
    }
}

fn limits(resources: agent::Resources) -> Limits {
    let memory = i64::try_from(resources.memory)
        .ok()
        .filter(|memory| *memory > 0);
    let (quota, period) = match (resources.cpu_quota, resources.cpu_period) {
        (0, _) => (
            resources.cpu_millis.saturating_mul(CPU_PERIOD) / 1000,
            CPU_PERIOD,
        ),
        (quota, 0) => (quota, CPU_PERIOD),
        own => own,
    };
    let quota = i64::try_from(quota).ok().filter(|quota| *quota > 0);
    Limits {
        cpu_shares: (resources.cpu_shares > 0).then_some(resources.cpu_shares),
        cpu_quota: quota,
        cpu_period: quota.map(|_| period),
        cpuset_cpus: given(resources.cpuset_cpus),
        cpuset_mems: given(resources.cpuset_mems),
        memory,
        memory_swap: (resources.memory_swap != 0).then_some(resources.memory_swap),
        pids: (resources.pids != 0).then_some(resources.pids),
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_a_half_cores_are_a_quota() {
        let limits = limits(agent::Resources {
            cpu_millis: 1500,
            memory: 1 << 30,
            pids: -1,
            ..agent::Resources::default()
        });
        assert_eq!(
            (limits.cpu_quota, limits.cpu_period),
            (Some(150_000), Some(100_000))
        );
        assert_eq!((limits.memory, limits.pids), (Some(1 << 30), Some(-1)));
        let limits = self::limits(agent::Resources {
            cpu_quota: 20_000,
            cpu_period: 50_000,
            ..agent::Resources::default()
        });
        assert_eq!(
            (limits.cpu_quota, limits.cpu_period),
            (Some(20_000), Some(50_000))
        );
    }

    #[test]
    fn ports_keep_their_address() {
        let mapping = agent::PortMapping {
            protocol: agent::Protocol::Udp.into(),
            container_port: 53,
            host_port: 5353,
            host_ip: "127.0.0.1".to_owned(),
        };
        let port = port(&mapping).unwrap();
        assert_eq!(port.protocol, Protocol::Udp);
        assert_eq!((port.host_port, port.container_port), (5353, 53));
        assert_eq!(port.host_ip, Some("127.0.0.1".parse().unwrap()));
    }
}
