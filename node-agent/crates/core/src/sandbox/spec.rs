//! What a sandbox is to be, and what is remembered of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use agent_cgroup::{Limits, PodCgroup};
use agent_network::{Attachment, PortMapping};
use agent_selinux::{LabelWish, Labels};
use agent_store::Record;
use agent_types::{ContainerId, NameServer, Owner, SandboxId};
use serde::{Deserialize, Serialize};

use super::state::SandboxPhase;
use crate::time::Timestamp;

/// What tells one sandbox from another for the caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct SandboxMetadata {
    /// Name of the pod, or of a person's container.
    pub name: String,
    /// The pod's uid.
    pub uid: String,
    /// The pod's namespace.
    pub namespace: String,
    /// How often the sandbox was made anew.
    pub attempt: u32,
}

/// Where a sandbox's network comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SandboxNetwork {
    /// The node's driver: a network namespace with an address.
    #[default]
    Bridge,
    /// The host's own.
    Host,
    /// A network namespace with loopback only.
    None,
    /// Another container's.
    Container(ContainerId),
}

/// Whose namespace processes are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum NamespaceScope {
    /// One for the sandbox.
    #[default]
    Sandbox,
    /// One for each container (PID only).
    Container,
    /// The host's.
    Host,
}

/// Name resolution inside a sandbox; all empty: as the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DnsSpec {
    /// Name servers.
    pub servers: Vec<NameServer>,
    /// Domains to search.
    pub searches: Vec<String>,
    /// Options of resolv.conf(5).
    pub options: Vec<String>,
}

/// A range of ids, and what they are on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdRange {
    /// First id in the sandbox.
    pub inside: u32,
    /// First id on the host.
    pub outside: u32,
    /// How many.
    pub length: u32,
}

/// The users of a sandbox that are others on the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserNamespace {
    /// Users.
    pub uids: Vec<IdRange>,
    /// Groups.
    pub gids: Vec<IdRange>,
}

impl UserNamespace {
    /// Returns the user and the group that are root in the sandbox.
    pub(crate) fn root(&self) -> (u32, u32) {
        let of = |ranges: &[IdRange]| {
            let range = ranges.iter().find(|range| range.inside == 0);
            range.map_or(0, |range| range.outside)
        };
        (of(&self.uids), of(&self.gids))
    }
}

/// Which SELinux labels hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SelinuxSpec {
    /// None.
    Unconfined,
    /// These, and what they leave open as the policy has it for containers.
    Wanted(LabelWish),
}

impl SelinuxSpec {
    /// Returns what is asked for; nothing where there is to be none.
    #[must_use]
    pub fn wish(self) -> LabelWish {
        match self {
            Self::Unconfined => LabelWish::default(),
            Self::Wanted(wish) => wish,
        }
    }
}

impl Default for SelinuxSpec {
    fn default() -> Self {
        Self::Wanted(LabelWish::default())
    }
}

/// What a sandbox is to be. Two requests with equal specs are one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Who sees it.
    pub owner: Owner,
    /// Its name.
    pub metadata: SandboxMetadata,
    /// Host name of its UTS namespace; empty: the first twelve characters of its id.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// Directory that containers' log paths are relative to; `None`: the node's own.
    pub log_directory: Option<PathBuf>,
    /// Name resolution.
    pub dns: DnsSpec,
    /// Further addresses and their names for /etc/hosts.
    pub extra_hosts: Vec<(IpAddr, Vec<String>)>,
    /// Ports to publish.
    pub ports: Vec<PortMapping>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// The caller's annotations; never read for control, but for the limits of traffic that
    /// Kubernetes gives no other place (`bandwidth.rs`).
    pub annotations: BTreeMap<String, String>,
    /// Cgroup the caller made for the pod; `None`: one below the node's own.
    pub cgroup_parent: Option<String>,
    /// Limits of the pod as a whole, overhead included; they hold where the pod's cgroup is the
    /// node's own, for a caller that makes one limits it itself.
    #[serde(default)]
    pub limits: Limits,
    /// Network.
    pub network: SandboxNetwork,
    /// PID namespace.
    pub pid: NamespaceScope,
    /// IPC namespace.
    pub ipc: NamespaceScope,
    /// UTS namespace.
    pub uts: NamespaceScope,
    /// User namespace; `None`: the host's.
    #[serde(default)]
    pub user_namespace: Option<UserNamespace>,
    /// SELinux labels of its containers.
    #[serde(default)]
    pub selinux: SelinuxSpec,
    /// Sysctls of the sandbox's own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Bytes of the /dev/shm its containers share.
    pub shm_size: u64,
    /// Name from the RuntimeClass; empty: the embedded runtime.
    pub runtime_handler: String,
    /// Privileged containers may be made in it.
    pub privileged: bool,
}

/// A sandbox's facts: written before anything of it is made, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxRecord {
    /// Its id.
    pub id: SandboxId,
    /// What was asked for.
    pub spec: SandboxSpec,
    /// The SELinux labels that its containers get; the level is nobody else's, unless it was asked for.
    #[serde(default)]
    pub selinux: Option<Labels>,
    /// When.
    pub created_at: Timestamp,
}

impl SandboxRecord {
    /// Returns the SELinux label of the files that its containers see.
    pub(crate) fn mount_label(&self) -> Option<String> {
        self.selinux.as_ref()?.mount.clone()
    }
}

impl Record for SandboxRecord {
    const TABLE: &'static str = "sandboxes";
    const VERSION: u32 = 1;
}

/// A sandbox's state: what it owns on the machine, and its phase.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxStateRecord {
    /// `Creating`, `Ready` or `NotReady`; the others are passed through without a record.
    pub phase: SandboxPhase,
    /// The built-in network it has; a loopback alone where plugins make the rest.
    pub attachment: Option<Attachment>,
    /// The network that plugins made, or may have.
    #[serde(default)]
    pub cni: Option<Box<agent_cni::Attachment>>,
    /// The cgroups made for it.
    pub cgroup: Option<PodCgroup>,
}

impl SandboxStateRecord {
    /// Says whether it names something to take down.
    pub(crate) fn owns_anything(&self) -> bool {
        self.attachment.is_some() || self.cni.is_some() || self.cgroup.is_some()
    }
}

impl Record for SandboxStateRecord {
    const TABLE: &'static str = "sandbox_states";
    const VERSION: u32 = 1;
}
