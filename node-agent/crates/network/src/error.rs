//! Why an operation of the network failed, one type each.

use std::fmt;
use std::io;

use agent_types::{Classify, ErrorKind, SandboxId};
use ipnet::IpNet;
use tokio::task::JoinError;

use crate::config::ConfigProblems;
use crate::host::LedgerError;
use crate::host::overlap::Occupant;
use crate::host::rules::RulesError;
use crate::host::sysctl::SysctlError;
use crate::ipam::Exhausted;
use crate::netlink::{KernelError, Refused};

/// Why the network could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings are wrong.
    #[error("network cannot be opened")]
    Config {
        /// What is wrong with them.
        source: ConfigProblems,
    },
    /// The kernel gave no socket.
    #[error("{what} socket cannot be opened")]
    Socket {
        /// Which one.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The kernel gave no random bytes.
    #[error("network cannot be given a name of its own")]
    Random {
        /// Why.
        source: io::Error,
    },
}

impl Classify for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Config { source } => source.kind(),
            Self::Socket { .. } | Self::Random { .. } => ErrorKind::Internal,
        }
    }
}

/// Why the host could not be made ready for sandboxes.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The host's links, addresses or routes could not be listed.
    #[error("links and routes of the host cannot be listed")]
    Inspect {
        /// Why.
        source: rtnetlink::Error,
    },
    /// Somebody else uses the addresses.
    #[error("subnet {subnet} is in use on this host by {occupant}")]
    Overlap {
        /// Our range.
        subnet: IpNet,
        /// Who is in it.
        occupant: Occupant,
    },
    /// A link with the bridge's name is there, and not of our making.
    #[error("interface {bridge} exists and does not belong to this agent")]
    NotOurs {
        /// The name.
        bridge: String,
    },
    /// Another agent on this machine uses tables of the same name.
    #[error("packet filter tables {table} belong to the agent of bridge {other}")]
    TableTaken {
        /// The name.
        table: String,
        /// Bridge of the other agent.
        other: String,
    },
    /// The ledger did not take what is about to be changed.
    #[error("changes to the host cannot be recorded")]
    Ledger {
        /// Why.
        source: LedgerError,
    },
    /// The fixed rules could not be laid down.
    #[error("packet filter rules of bridge {bridge} cannot be laid down")]
    Rules {
        /// The bridge.
        bridge: String,
        /// Why.
        source: RulesError,
    },
    /// A setting could not be changed.
    #[error("bridge {bridge} cannot be set up")]
    Sysctl {
        /// The bridge.
        bridge: String,
        /// Which one, and why.
        source: SysctlError,
    },
    /// The bridge could not be made.
    #[error("bridge {bridge} cannot be made")]
    Bridge {
        /// The bridge.
        bridge: String,
        /// Why.
        source: rtnetlink::Error,
    },
    /// Blocking work was lost.
    #[error("work on bridge {bridge} was interrupted")]
    Interrupted {
        /// The bridge.
        bridge: String,
        /// How.
        source: JoinError,
    },
}

impl Classify for PrepareError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Overlap { .. } | Self::NotOurs { .. } | Self::TableTaken { .. } => {
                ErrorKind::FailedPrecondition
            }
            Self::Inspect { .. }
            | Self::Ledger { .. }
            | Self::Rules { .. }
            | Self::Sysctl { .. }
            | Self::Bridge { .. }
            | Self::Interrupted { .. } => ErrorKind::Internal,
        }
    }
}

/// Who has a port that a sandbox asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortHolder {
    /// Another sandbox of this agent, or the same one twice.
    Sandbox(SandboxId),
    /// A process of the host.
    Host,
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sandbox(id) => write!(f, "sandbox {id}"),
            Self::Host => f.write_str("a process of the host"),
        }
    }
}

/// Why no address or port could be set aside for a sandbox.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// The subnet is full.
    #[error("sandbox {sandbox} gets no address")]
    Exhausted {
        /// The sandbox.
        sandbox: SandboxId,
        /// Which range.
        source: Exhausted,
    },
    /// A port is taken.
    #[error("port {port} is already in use by {holder}")]
    PortInUse {
        /// The port as a person writes it.
        port: String,
        /// Who has it.
        holder: PortHolder,
    },
    /// Every port that could be given out is taken.
    #[error("no host port is free for port {container_port} of sandbox {sandbox}")]
    NoPort {
        /// The sandbox.
        sandbox: SandboxId,
        /// Port inside.
        container_port: u16,
    },
    /// The host has no such address.
    #[error("port {port} cannot be published: the host does not have this address")]
    NoSuchAddress {
        /// The port as a person writes it.
        port: String,
    },
    /// The network has no address of the family.
    #[error("port {port} cannot be published: the network has no address of this family")]
    Family {
        /// The port as a person writes it.
        port: String,
    },
    /// Port 0 inside, or ports for a mode that publishes none.
    #[error("port {port} cannot be published for sandbox {sandbox}: {why}")]
    Invalid {
        /// The sandbox.
        sandbox: SandboxId,
        /// The port as a person writes it.
        port: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The host could not be asked about a port.
    #[error("port {port} cannot be tried")]
    Probe {
        /// The port as a person writes it.
        port: String,
        /// What the kernel said.
        source: rustix::io::Errno,
    },
    /// The sandbox has another attachment, or is leaving one.
    #[error("sandbox {sandbox} is attached already")]
    Attached {
        /// The sandbox.
        sandbox: SandboxId,
    },
}

impl Classify for ReserveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Exhausted { .. } | Self::NoPort { .. } => ErrorKind::ResourceExhausted,
            Self::PortInUse { .. } | Self::Attached { .. } => ErrorKind::AlreadyExists,
            Self::NoSuchAddress { .. } | Self::Family { .. } | Self::Invalid { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::Probe { .. } => ErrorKind::Internal,
        }
    }
}

/// Why a sandbox could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The host is not ready.
    #[error("network of sandbox {sandbox} cannot be made")]
    Prepare {
        /// The sandbox.
        sandbox: SandboxId,
        /// Why.
        source: PrepareError,
    },
    /// Nothing was set aside for it.
    #[error("sandbox {sandbox} has no reserved addresses")]
    NotReserved {
        /// The sandbox.
        sandbox: SandboxId,
    },
    /// The mode needs a network namespace, and none was given.
    #[error("sandbox {sandbox} has no network namespace of its own")]
    NoGuest {
        /// The sandbox.
        sandbox: SandboxId,
    },
    /// The namespace could not be held on to.
    #[error("network namespace of sandbox {sandbox} cannot be used")]
    Netns {
        /// The sandbox.
        sandbox: SandboxId,
        /// Why.
        source: io::Error,
    },
    /// The link could not be made.
    #[error("link {interface} of sandbox {sandbox} cannot be made")]
    Link {
        /// The sandbox.
        sandbox: SandboxId,
        /// The host's end.
        interface: String,
        /// The step.
        source: Refused,
    },
    /// The inside could not be set up.
    #[error("network inside sandbox {sandbox} cannot be set up")]
    Inside {
        /// The sandbox.
        sandbox: SandboxId,
        /// The step.
        source: Refused,
    },
    /// The ports could not be published.
    #[error("ports of sandbox {sandbox} cannot be published")]
    Publish {
        /// The sandbox.
        sandbox: SandboxId,
        /// What the kernel said.
        source: KernelError,
    },
    /// A port could not be served on the IPv6 loopback.
    #[error("port {port} of sandbox {sandbox} cannot be served on [::1]")]
    Forward {
        /// The sandbox.
        sandbox: SandboxId,
        /// The port as a person writes it.
        port: String,
        /// Why.
        source: io::Error,
    },
    /// Blocking work was lost.
    #[error("attaching sandbox {sandbox} was interrupted")]
    Interrupted {
        /// The sandbox.
        sandbox: SandboxId,
        /// How.
        source: JoinError,
    },
}

impl Classify for AttachError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Prepare { source, .. } => source.kind(),
            Self::NotReserved { .. } | Self::NoGuest { .. } => ErrorKind::FailedPrecondition,
            Self::Forward { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                ErrorKind::AlreadyExists
            }
            Self::Netns { .. }
            | Self::Link { .. }
            | Self::Inside { .. }
            | Self::Publish { .. }
            | Self::Forward { .. }
            | Self::Interrupted { .. } => ErrorKind::Internal,
        }
    }
}

/// One thing that could not be taken down.
#[derive(Debug, thiserror::Error)]
pub enum TeardownError {
    /// Map elements stayed.
    #[error("published ports of sandbox {sandbox} cannot be withdrawn")]
    Ports {
        /// The sandbox.
        sandbox: SandboxId,
        /// What the kernel said.
        source: KernelError,
    },
    /// A link stayed.
    #[error("link {interface} cannot be deleted")]
    Link {
        /// The link.
        interface: String,
        /// Why.
        source: rtnetlink::Error,
    },
    /// Links could not be listed.
    #[error("links of the host cannot be listed")]
    Inspect {
        /// Why.
        source: rtnetlink::Error,
    },
    /// The tables stayed.
    #[error("packet filter tables {table} cannot be deleted")]
    Tables {
        /// Their name.
        table: String,
        /// What the kernel said.
        source: KernelError,
    },
    /// A setting stayed.
    #[error("a setting of the host cannot be put back")]
    Sysctl {
        /// Which one, and why.
        source: SysctlError,
    },
    /// A socket was refused.
    #[error("{what} socket cannot be opened")]
    Socket {
        /// Which one.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Blocking work was lost.
    #[error("taking the network down was interrupted")]
    Interrupted {
        /// How.
        source: JoinError,
    },
}

impl Classify for TeardownError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// Everything that could not be taken down; the rest was.
#[derive(Debug)]
pub struct TeardownErrors(pub Vec<TeardownError>);

impl TeardownErrors {
    /// Returns an error unless the list is empty.
    pub(crate) fn check(errors: Vec<TeardownError>) -> Result<(), Self> {
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Self(errors))
        }
    }
}

impl fmt::Display for TeardownErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("part of the network could not be taken down")?;
        for (number, error) in self.0.iter().enumerate() {
            write!(f, "{} {error}", if number == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for TeardownErrors {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.first().and_then(std::error::Error::source)
    }
}

impl Classify for TeardownErrors {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// Why the network could not be brought in line with the records.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The host is not ready.
    #[error("network cannot be recovered")]
    Prepare {
        /// Why.
        source: PrepareError,
    },
    /// Links could not be listed.
    #[error("links of the host cannot be listed")]
    Inspect {
        /// Why.
        source: rtnetlink::Error,
    },
    /// The published ports could not be compared or corrected.
    #[error("published ports cannot be brought in line with the records")]
    Ports {
        /// What the kernel said.
        source: KernelError,
    },
    /// Blocking work was lost.
    #[error("recovering the network was interrupted")]
    Interrupted {
        /// How.
        source: JoinError,
    },
}

impl Classify for RecoverError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Prepare { source } => source.kind(),
            Self::Inspect { .. } | Self::Ports { .. } | Self::Interrupted { .. } => {
                ErrorKind::Internal
            }
        }
    }
}

/// Why a sandbox's counters could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// The link is gone.
    #[error("link {interface} of sandbox {sandbox} does not exist")]
    NotFound {
        /// The sandbox.
        sandbox: SandboxId,
        /// The host's end.
        interface: String,
    },
    /// The kernel did not answer.
    #[error("counters of sandbox {sandbox} cannot be read")]
    Read {
        /// The sandbox.
        sandbox: SandboxId,
        /// Why.
        source: rtnetlink::Error,
    },
}

impl Classify for StatsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Read { .. } => ErrorKind::Internal,
        }
    }
}
