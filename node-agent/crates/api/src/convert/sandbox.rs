//! Sandboxes between CRI and the node.

use std::net::IpAddr;

use agent_cgroup::Limits;
use agent_core::sandbox::spec::{
    DnsSpec, NamespaceScope, SandboxMetadata, SandboxNetwork, SandboxSpec, SelinuxSpec,
    UserNamespace,
};
use agent_core::sandbox::state::SandboxPhase;
use agent_core::sandbox::view::SandboxView;
use agent_core::time::Timestamp;
use agent_network::{PortMapping, Protocol};
use agent_types::Owner;
use proto::cri;
use tonic::Status;

use super::{ordered, unordered};
use crate::status::invalid;

/// Returns what a RunPodSandbox request asks for.
pub(crate) fn spec(
    request: cri::RunPodSandboxRequest,
    shm_size: u64,
) -> Result<SandboxSpec, Status> {
    let config = request.config.ok_or_else(|| invalid("config is missing"))?;
    let metadata = config
        .metadata
        .ok_or_else(|| invalid("config.metadata is missing"))?;
    if metadata.name.is_empty() || metadata.namespace.is_empty() || metadata.uid.is_empty() {
        return Err(invalid(
            "config.metadata needs a name, a namespace and a uid",
        ));
    }
    let linux = config.linux.unwrap_or_default();
    let context = linux.security_context.unwrap_or_default();
    super::security::check_sandbox(&context)?;
    let options = context.namespace_options.unwrap_or_default();
    let network = match scope(options.network, "network")? {
        NamespaceScope::Host => SandboxNetwork::Host,
        NamespaceScope::Sandbox | NamespaceScope::Container => SandboxNetwork::Bridge,
    };
    let uts = match network {
        SandboxNetwork::Host => NamespaceScope::Host,
        _ => NamespaceScope::Sandbox,
    };
    let user_namespace = users(&options)?;
    let ports = ports(config.port_mappings, &network)?;
    let (cgroup_parent, limits) = cgroup(linux.cgroup_parent, linux.overhead, linux.resources);
    let dns = config.dns_config.unwrap_or_default();
    Ok(SandboxSpec {
        owner: Owner::Cri,
        metadata: SandboxMetadata {
            name: metadata.name,
            uid: metadata.uid,
            namespace: metadata.namespace,
            attempt: metadata.attempt,
        },
        hostname: config.hostname,
        domainname: String::new(),
        log_directory: super::given(config.log_directory)
            .map(absolute)
            .transpose()?,
        dns: DnsSpec {
            servers: super::name_servers(&dns.servers)?,
            searches: dns.searches,
            options: dns.options,
        },
        extra_hosts: Vec::new(),
        ports,
        labels: ordered(config.labels),
        annotations: ordered(config.annotations),
        cgroup_parent,
        limits,
        network,
        pid: scope(options.pid, "pid")?,
        ipc: scope(options.ipc, "ipc")?,
        uts,
        user_namespace,
        selinux: SelinuxSpec::Wanted(super::security::selinux(context.selinux_options)),
        sysctls: ordered(linux.sysctls),
        shm_size,
        runtime_handler: request.runtime_handler,
        privileged: context.privileged,
    })
}

/// Returns the cgroup that the caller names, and the limits of the pod as a whole.
fn cgroup(
    parent: String,
    overhead: Option<cri::LinuxContainerResources>,
    resources: Option<cri::LinuxContainerResources>,
) -> (Option<String>, Limits) {
    match parent.as_str() {
        // A kubelet without cgroups for its pods names the root; its sums then leave out those
        // containers that have no limit.
        "/" | "-.slice" => (None, Limits::default()),
        _ => (
            super::given(parent),
            super::resources::of_pod(overhead, resources),
        ),
    }
}

fn absolute(path: String) -> Result<std::path::PathBuf, Status> {
    let path = std::path::PathBuf::from(path);
    let clean = path.components().all(|part| {
        matches!(
            part,
            std::path::Component::RootDir | std::path::Component::Normal(_)
        )
    });
    if path.is_absolute() && clean {
        Ok(path)
    } else {
        Err(invalid(format!(
            "config.log_directory {} is not an absolute path without dots",
            path.display()
        )))
    }
}

/// Returns the sandbox's users, whom the host's other namespaces would not obey.
fn users(options: &cri::NamespaceOption) -> Result<Option<UserNamespace>, Status> {
    let users = super::users::namespace(options)?;
    let host = cri::NamespaceMode::Node;
    for (name, mode) in [
        ("network", options.network()),
        ("pid", options.pid()),
        ("ipc", options.ipc()),
    ] {
        if users.is_some() && mode == host {
            return Err(invalid(format!(
                "a user namespace cannot be had together with the host's {name} namespace"
            )));
        }
    }
    Ok(users)
}

/// Returns whose a namespace is.
pub(super) fn scope(mode: i32, name: &str) -> Result<NamespaceScope, Status> {
    match cri::NamespaceMode::try_from(mode) {
        Ok(cri::NamespaceMode::Pod) => Ok(NamespaceScope::Sandbox),
        Ok(cri::NamespaceMode::Container) => Ok(NamespaceScope::Container),
        Ok(cri::NamespaceMode::Node) => Ok(NamespaceScope::Host),
        Ok(cri::NamespaceMode::Target) => Err(invalid(format!(
            "{name} namespace mode TARGET is for containers"
        ))),
        Err(_) => Err(invalid(format!("{name} namespace mode {mode} is unknown"))),
    }
}

/// Returns the ports to publish; those without a host port are left out, as CRI says. In the host's
/// network, for which a kubelet names every port as the host's, they are there without us.
fn ports(
    mappings: Vec<cri::PortMapping>,
    network: &SandboxNetwork,
) -> Result<Vec<PortMapping>, Status> {
    let mappings = mappings.into_iter().filter(|one| one.host_port > 0);
    let ports: Result<Vec<_>, _> = mappings.map(port).collect();
    match network {
        SandboxNetwork::Host => ports.map(|_| Vec::new()),
        _ => ports,
    }
}

fn port(mapping: cri::PortMapping) -> Result<PortMapping, Status> {
    let number = |value: i32, name: &str| {
        u16::try_from(value).map_err(|_| invalid(format!("{name} {value} is not a port")))
    };
    let host_ip: Option<IpAddr> = match mapping.host_ip.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| invalid(format!("host_ip {text:?} is not an address")))?,
        ),
    };
    Ok(PortMapping {
        protocol: match mapping.protocol() {
            cri::Protocol::Tcp => Protocol::Tcp,
            cri::Protocol::Udp => Protocol::Udp,
            cri::Protocol::Sctp => Protocol::Sctp,
        },
        // The kubelet writes these for "every address".
        host_ip: host_ip.filter(|ip| !ip.is_unspecified()),
        host_port: number(mapping.host_port, "host_port")?,
        container_port: number(mapping.container_port, "container_port")?,
    })
}

pub(super) fn metadata(view: &SandboxView) -> cri::PodSandboxMetadata {
    let metadata = &view.record.spec.metadata;
    cri::PodSandboxMetadata {
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        namespace: metadata.namespace.clone(),
        attempt: metadata.attempt,
    }
}

fn state(view: &SandboxView) -> cri::PodSandboxState {
    match view.phase {
        SandboxPhase::Ready => cri::PodSandboxState::SandboxReady,
        SandboxPhase::Creating
        | SandboxPhase::Stopping
        | SandboxPhase::NotReady
        | SandboxPhase::Removing => cri::PodSandboxState::SandboxNotready,
    }
}

/// Returns a sandbox as ListPodSandbox shows it.
pub(crate) fn listed(view: &SandboxView) -> cri::PodSandbox {
    let spec = &view.record.spec;
    cri::PodSandbox {
        id: view.record.id.to_string(),
        metadata: Some(metadata(view)),
        state: state(view).into(),
        created_at: view.record.created_at.nanos(),
        labels: unordered(&spec.labels),
        annotations: unordered(&spec.annotations),
        runtime_handler: spec.runtime_handler.clone(),
    }
}

/// Returns whether a sandbox passes a filter.
pub(crate) fn passes(view: &SandboxView, filter: Option<&cri::PodSandboxFilter>) -> bool {
    let Some(filter) = filter else {
        return true;
    };
    let wanted = filter.state.as_ref().map(cri::PodSandboxStateValue::state);
    view.record.id.as_str().starts_with(&filter.id)
        && wanted.is_none_or(|wanted| wanted == state(view))
        && super::selected(&view.record.spec.labels, &filter.label_selector)
}

const fn mode(scope: NamespaceScope) -> cri::NamespaceMode {
    match scope {
        NamespaceScope::Sandbox => cri::NamespaceMode::Pod,
        NamespaceScope::Container => cri::NamespaceMode::Container,
        NamespaceScope::Host => cri::NamespaceMode::Node,
    }
}

/// Returns a sandbox as PodSandboxStatus shows it.
pub(crate) fn status(view: &SandboxView) -> cri::PodSandboxStatus {
    let spec = &view.record.spec;
    let mut ips = view.ips().into_iter().map(|ip| ip.to_string());
    let network = cri::PodSandboxNetworkStatus {
        ip: ips.next().unwrap_or_default(),
        additional_ips: ips.map(|ip| cri::PodIp { ip }).collect(),
    };
    let options = cri::NamespaceOption {
        network: match spec.network {
            SandboxNetwork::Host => cri::NamespaceMode::Node.into(),
            _ => cri::NamespaceMode::Pod.into(),
        },
        pid: mode(spec.pid).into(),
        ipc: mode(spec.ipc).into(),
        userns_options: spec
            .user_namespace
            .as_ref()
            .map(|users| cri::UserNamespace {
                mode: cri::NamespaceMode::Pod.into(),
                uids: super::users::shown(&users.uids),
                gids: super::users::shown(&users.gids),
            }),
        ..cri::NamespaceOption::default()
    };
    cri::PodSandboxStatus {
        id: view.record.id.to_string(),
        metadata: Some(metadata(view)),
        state: state(view).into(),
        created_at: view.record.created_at.nanos(),
        network: Some(network),
        linux: Some(cri::LinuxPodSandboxStatus {
            namespaces: Some(cri::Namespace {
                options: Some(options),
            }),
        }),
        labels: unordered(&spec.labels),
        annotations: unordered(&spec.annotations),
        runtime_handler: spec.runtime_handler.clone(),
    }
}

/// Returns a whole PodSandboxStatus response.
pub(crate) fn status_response(view: &SandboxView, verbose: bool) -> cri::PodSandboxStatusResponse {
    let mut info = std::collections::HashMap::new();
    if verbose && let Some(live) = &view.live {
        info.insert("shim_pid".to_owned(), live.shim_pid.to_string());
        info.insert("cgroup".to_owned(), live.cgroup.path.to_string());
    }
    cri::PodSandboxStatusResponse {
        status: Some(status(view)),
        info,
        containers_statuses: view
            .containers
            .iter()
            .map(super::container::status)
            .collect(),
        timestamp: Timestamp::now().nanos(),
    }
}
