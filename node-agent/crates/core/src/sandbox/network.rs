//! Joining a sandbox to a network and releasing it: the built-in one, or one of plugins.
//!
//! A sandbox keeps the driver it started with: its record names what either has to take back.
//! Where plugins make the network, the built-in one brings up the loopback and nothing else.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use agent_cgroup::CgroupPath;
use agent_cni::{Capabilities, DnsConfig, Pod};
use agent_network::{AttachSpec, Attachment, ModeSpec};
use agent_types::Owner;
use tokio::sync::{AcquireError, RwLockReadGuard, SemaphorePermit};

use super::ahead;
use super::bandwidth;
use super::error::{StepError, TeardownError};
use super::files;
use super::spec::{DnsSpec, SandboxNetwork, SandboxRecord};
use super::stop::Owned;
use crate::services::{CriNetwork, Services, blocking};

/// Who joins a sandbox.
#[derive(Debug)]
pub(crate) enum Driver<'a> {
    /// The built-in network.
    BuiltIn,
    /// Plugins; as long as the guard lives, they are not told to forget anybody.
    Plugins {
        /// Held only.
        _joining: RwLockReadGuard<'a, ()>,
    },
}

/// The inside of a sandbox's own network namespace.
#[derive(Debug)]
pub(crate) struct Guest<'a> {
    pub(crate) netns: &'a OwnedFd,
    /// An rtnetlink socket that was opened inside.
    pub(crate) netlink: OwnedFd,
}

/// Says whether plugins join a kubelet's pods at present.
///
/// A directory that is empty or missing costs some microseconds.
pub(crate) fn plugins_join(services: &Services) -> bool {
    match services.settings.cri_network {
        CriNetwork::Cni => true,
        CriNetwork::BuiltIn => false,
        CriNetwork::Auto => services.cni.has_configuration(),
    }
}

/// Decides who joins a sandbox that is being made.
pub(crate) async fn driver<'a>(services: &'a Services, record: &SandboxRecord) -> Driver<'a> {
    let spec = &record.spec;
    let own_network = spec.network == SandboxNetwork::Bridge;
    if spec.owner == Owner::Cri && own_network && plugins_join(services) {
        Driver::Plugins {
            _joining: services.joining.read().await,
        }
    } else {
        Driver::BuiltIn
    }
}

/// Sets aside or plans what a sandbox will have; nothing is made before that is recorded. Where a
/// network was made ahead and is taken, its namespace comes with it.
pub(crate) async fn plan(
    services: &Services,
    record: &SandboxRecord,
    driver: &Driver<'_>,
    cgroup: &CgroupPath,
) -> Result<(Owned, Option<OwnedFd>), StepError> {
    let mut owned = Owned::default();
    let (mode, ports) = match (&record.spec.network, driver) {
        (SandboxNetwork::Bridge, Driver::Plugins { .. }) => {
            let spec = agent_cni::AttachSpec {
                sandbox: record.id.clone(),
                pod: pod(record),
                capabilities: capabilities(services, record, cgroup)?,
            };
            owned.cni = Some(Box::new(services.cni.plan(spec).await?));
            (ModeSpec::None, Vec::new())
        }
        (SandboxNetwork::Bridge, Driver::BuiltIn) => (ModeSpec::Bridge, record.spec.ports.clone()),
        (SandboxNetwork::None, _) => (ModeSpec::None, record.spec.ports.clone()),
        (SandboxNetwork::Host, _) => (ModeSpec::Host, record.spec.ports.clone()),
        (SandboxNetwork::Container(_), _) => return Ok((owned, None)),
    };
    let spec = AttachSpec {
        sandbox: record.id.clone(),
        mode,
        ports,
        source: ahead::source(record.spec.owner),
    };
    let (attachment, netns) = match made_ahead(services, record, &spec).await? {
        Some((attachment, netns)) => (attachment, Some(netns)),
        None => (services.network.reserve(&spec)?, None),
    };
    owned.attachment = Some(attachment);
    Ok((owned, netns))
}

/// Takes the network that was made ahead, if there is one and the sandbox can have it.
async fn made_ahead(
    services: &Services,
    record: &SandboxRecord,
    spec: &AttachSpec,
) -> Result<Option<(Attachment, OwnedFd)>, StepError> {
    if spec.mode != ModeSpec::Bridge || !ahead::fits(record) {
        return Ok(None);
    }
    let Some(made) = services.ahead.take(spec.source) else {
        return Ok(None);
    };
    match services.network.hand_over(&made.attachment, spec) {
        Ok(Some(attachment)) => Ok(Some((attachment, made.netns))),
        Ok(None) => {
            ahead::give_back(&services.network, made).await;
            Ok(None)
        }
        Err(error) => {
            ahead::give_back(&services.network, made).await;
            Err(error.into())
        }
    }
}

fn pod(record: &SandboxRecord) -> Pod {
    let metadata = &record.spec.metadata;
    Pod {
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
    }
}

fn capabilities(
    services: &Services,
    record: &SandboxRecord,
    cgroup: &CgroupPath,
) -> Result<Capabilities, StepError> {
    let spec = &record.spec;
    let ports = spec.ports.iter().map(|port| agent_cni::PortMapping {
        host_port: port.host_port,
        container_port: port.container_port,
        protocol: port.protocol.to_string(),
        host_ip: port.host_ip,
    });
    Ok(Capabilities {
        port_mappings: ports.collect(),
        bandwidth: bandwidth::of(&spec.annotations)?,
        dns: (spec.dns != DnsSpec::default()).then(|| DnsConfig {
            servers: spec.dns.servers.clone(),
            searches: spec.dns.searches.clone(),
            options: spec.dns.options.clone(),
        }),
        ip_ranges: services.pod_ranges().clone(),
        cgroup_path: Some(cgroup.to_string()),
    })
}

/// Makes what was planned. `permit` is the sandbox's turn to start: it is given up before plugins
/// run, which may wait for a pod of the host's network that still has to start.
pub(crate) async fn attach(
    services: &Services,
    record: &SandboxRecord,
    owned: &mut Owned,
    guest: Option<Guest<'_>>,
    permit: Result<SemaphorePermit<'_>, AcquireError>,
) -> Result<(), StepError> {
    let Some(attachment) = &owned.attachment else {
        return Ok(());
    };
    let netns = guest.as_ref().map(|guest| guest.netns);
    let inside = guest.map(|guest| agent_network::Guest {
        netns: guest.netns.as_fd(),
        netlink: guest.netlink,
    });
    services.network.attach(attachment, inside).await?;
    drop(permit);
    if let (Some(cni), Some(netns)) = (owned.cni.as_deref_mut(), netns) {
        services.cni.attach(cni, netns.as_fd()).await?;
        write_files(services, record, cni).await?;
    }
    Ok(())
}

/// Writes the sandbox's files again: now its addresses are known, and the plugins' name servers.
async fn write_files(
    services: &Services,
    record: &SandboxRecord,
    cni: &agent_cni::Attachment,
) -> Result<(), StepError> {
    let mut texts = files::Texts::new(record, cni.addresses());
    if let Some(result) = cni.result() {
        let servers = result.dns.nameservers.iter();
        texts.fill_in(DnsSpec {
            servers: servers.filter_map(|text| text.parse().ok()).collect(),
            searches: result.dns.search,
            options: result.dns.options,
        });
    }
    let directory = services.paths().sandbox(&record.id);
    blocking(move || texts.write(&directory)).await?
}

/// Gives back what a sandbox has, or may have, of either network.
pub(crate) async fn detach(
    services: &Services,
    record: &SandboxRecord,
    attachment: Option<&Attachment>,
    cni: Option<&agent_cni::Attachment>,
) -> Vec<TeardownError> {
    let mut failures = Vec::new();
    if let Some(attachment) = attachment
        && let Err(source) = services.network.detach(attachment).await
    {
        failures.push(TeardownError::Network {
            id: record.id.clone(),
            source,
        });
    }
    if let Some(cni) = cni
        && let Err(source) = services.cni.detach(cni).await
    {
        failures.push(TeardownError::Plugins {
            id: record.id.clone(),
            source,
        });
    }
    failures
}

/// Returns the addresses that a sandbox has of either network.
pub(crate) fn addresses(
    attachment: Option<&Attachment>,
    cni: Option<&agent_cni::Attachment>,
) -> Vec<IpAddr> {
    let own = attachment.into_iter().flat_map(Attachment::addresses);
    own.chain(cni.into_iter().flat_map(agent_cni::Attachment::addresses))
        .collect()
}
