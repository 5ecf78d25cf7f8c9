//! Why a sandbox got no address, port or link.

use std::fmt;
use std::io;

use agent_types::{Classify, ErrorKind, SandboxId};
use tokio::task::JoinError;

use super::PrepareError;
use crate::ipam::Exhausted;
use crate::netlink::{KernelError, Refused};

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
