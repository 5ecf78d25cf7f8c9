//! Why the network could not be opened, or the host not made ready.

use std::io;

use agent_types::{Classify, ErrorKind};
use ipnet::IpNet;
use tokio::task::JoinError;

use crate::config::ConfigProblems;
use crate::host::LedgerError;
use crate::host::overlap::Occupant;
use crate::host::rules::RulesError;
use crate::host::sysctl::SysctlError;

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
