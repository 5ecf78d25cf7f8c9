//! Why something could not be taken down, taken over or read.

use std::fmt;
use std::io;

use agent_types::{Classify, ErrorKind, SandboxId};
use tokio::task::JoinError;

use super::PrepareError;
use crate::host::sysctl::SysctlError;
use crate::netlink::KernelError;

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
