//! The files every container of a sandbox sees: hosts, resolv.conf, hostname.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use agent_network::files::{DnsSpec, HostResolver, HostsSpec, LineError, names_only_loopback};

use agent_types::Owner;

use super::error::StepError;
use super::spec::{NamespaceScope, SandboxNetwork, SandboxRecord, SandboxSpec, UserNamespace};

/// Where the host keeps its name resolution.
const HOST_RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where systemd-resolved keeps the servers behind its own on loopback.
const UPSTREAM_RESOLV_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// The names of the files, and where containers see them.
pub(crate) const NAMES: [(&str, &str); 3] = [
    ("hosts", "/etc/hosts"),
    ("resolv.conf", "/etc/resolv.conf"),
    ("hostname", "/etc/hostname"),
];

/// Returns the host name of a sandbox; empty: the host's own.
#[must_use]
pub(crate) fn hostname(record: &SandboxRecord) -> String {
    if record.spec.uts == NamespaceScope::Host {
        return String::new();
    }
    if record.spec.hostname.is_empty() {
        record.id.short().to_owned()
    } else {
        record.spec.hostname.clone()
    }
}

/// The content of the files.
#[derive(Debug)]
pub(crate) struct Texts {
    hosts: HostsSpec,
    dns: DnsSpec,
    hostname: String,
    resolver: HostResolver,
    /// Whether nothing is added to what was asked for.
    dns_is_whole: bool,
    /// User and group that they belong to: the sandbox's root.
    owner: Option<(u32, u32)>,
    /// SELinux label of the sandbox's files.
    label: Option<String>,
}

impl Texts {
    pub(crate) fn new(record: &SandboxRecord, addresses: Vec<IpAddr>) -> Self {
        let spec = &record.spec;
        let hostname = match hostname(record) {
            name if name.is_empty() => host_name(),
            name => name,
        };
        Self {
            hosts: hosts_spec(spec, hostname.clone(), addresses),
            dns: dns_spec(spec),
            hostname: format!("{hostname}\n"),
            resolver: match spec.network {
                SandboxNetwork::Host => HostResolver::Reachable,
                _ => HostResolver::OwnNetwork,
            },
            // A kubelet names all that a pod is to have; people may leave parts to the host.
            dns_is_whole: spec.owner == Owner::Cri && !spec.dns.servers.is_empty(),
            owner: spec.user_namespace.as_ref().map(UserNamespace::root),
            label: record.mount_label(),
        }
    }

    /// Takes over what the sandbox did not ask for itself; the host's counts only after that.
    pub(crate) fn fill_in(&mut self, dns: super::spec::DnsSpec) {
        if self.dns_is_whole {
            return;
        }
        if self.dns.servers.is_empty() {
            self.dns.servers = dns.servers;
        }
        if self.dns.searches.is_empty() {
            self.dns.searches = dns.searches;
        }
        if self.dns.options.is_empty() {
            self.dns.options = dns.options;
        }
    }

    /// Writes the files; blocking.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), StepError> {
        let host = match self.dns_is_whole {
            true => String::new(),
            false => host_resolv_conf(&self.dns, self.resolver),
        };
        let resolv_conf = agent_network::files::resolv_conf(&self.dns, &host, self.resolver)?;
        let hosts = agent_network::files::hosts(&self.hosts)?;
        for (name, text) in [
            ("hosts", &hosts),
            ("resolv.conf", &resolv_conf),
            ("hostname", &self.hostname),
        ] {
            let path = directory.join(name);
            if let Some(label) = &self.label {
                write(path.clone(), text, self.owner)?;
                agent_selinux::label_file(&path, label)?;
            } else {
                write(path, text, self.owner)?;
            }
        }
        Ok(())
    }
}

fn hosts_spec(spec: &SandboxSpec, hostname: String, addresses: Vec<IpAddr>) -> HostsSpec {
    HostsSpec {
        hostname: Some(hostname),
        domain: (!spec.domainname.is_empty()).then(|| spec.domainname.clone()),
        addresses,
        extra: spec.extra_hosts.clone(),
    }
}

fn dns_spec(spec: &SandboxSpec) -> DnsSpec {
    DnsSpec {
        servers: spec.dns.servers.clone(),
        searches: spec.dns.searches.clone(),
        options: spec.dns.options.clone(),
    }
}

/// Refuses names that would become further lines of the files.
pub(crate) fn check(spec: &SandboxSpec) -> Result<(), LineError> {
    let hostname = match spec.hostname.as_str() {
        "" => "host".to_owned(),
        name => name.to_owned(),
    };
    agent_network::files::hosts(&hosts_spec(spec, hostname, Vec::new()))?;
    agent_network::files::resolv_conf(&dns_spec(spec), "", HostResolver::Reachable)?;
    Ok(())
}

/// Returns the host's name resolution: its upstream's, where its own is a resolver on loopback
/// that a network of one's own cannot reach.
fn host_resolv_conf(dns: &DnsSpec, resolver: HostResolver) -> String {
    let host = std::fs::read_to_string(HOST_RESOLV_CONF).unwrap_or_default();
    let unreachable = resolver == HostResolver::OwnNetwork
        && dns.servers.is_empty()
        && names_only_loopback(&host);
    if unreachable {
        std::fs::read_to_string(UPSTREAM_RESOLV_CONF).unwrap_or(host)
    } else {
        host
    }
}

fn write(path: PathBuf, text: &str, owner: Option<(u32, u32)>) -> Result<(), StepError> {
    let written = std::fs::write(&path, text).and_then(|()| match owner {
        Some((uid, gid)) => std::os::unix::fs::chown(&path, Some(uid), Some(gid)),
        None => Ok(()),
    });
    written.map_err(|source| StepError::File { path, source })
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
