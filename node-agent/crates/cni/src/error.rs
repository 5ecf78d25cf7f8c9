//! Why a sandbox could not be joined to, or released from, a network of plugins.

use std::fmt;
use std::io;
use std::path::PathBuf;

use agent_types::{Classify, ErrorKind, SandboxId};

use crate::config::SearchError;
use crate::plugin::PluginError;
use crate::result::ResultError;
use crate::version::SpecVersion;

impl Classify for SearchError {
    fn kind(&self) -> ErrorKind {
        match self {
            // The cluster's network may still arrive.
            Self::Empty { .. } | Self::Invalid { .. } => ErrorKind::Unavailable,
            Self::Read { .. } => ErrorKind::Internal,
        }
    }
}

/// Why it could not be said how a sandbox is to be joined.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is no configuration.
    #[error("no network for sandbox {sandbox}")]
    Search {
        /// The sandbox.
        sandbox: SandboxId,
        /// Why.
        source: SearchError,
    },
    /// A word about the pod would become another one.
    #[error(
        "sandbox {sandbox} cannot be named to CNI plugins: {key} {value:?} is not a plain word"
    )]
    Argument {
        /// The sandbox.
        sandbox: SandboxId,
        /// Which word.
        key: &'static str,
        /// What it is.
        value: String,
    },
    /// Blocking work was lost.
    #[error("planning the network of sandbox {sandbox} was interrupted")]
    Interrupted {
        /// The sandbox.
        sandbox: SandboxId,
        /// How.
        source: tokio::task::JoinError,
    },
}

impl Classify for PlanError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Search { source, .. } => source.kind(),
            Self::Argument { .. } => ErrorKind::InvalidArgument,
            Self::Interrupted { .. } => ErrorKind::Unavailable,
        }
    }
}

/// Why a sandbox could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Its namespace got no path.
    #[error("network namespace of sandbox {sandbox} could not be pinned at {}", path.display())]
    Pin {
        /// The sandbox.
        sandbox: SandboxId,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A plugin did not do it.
    #[error("sandbox {sandbox} could not be joined to network {network}")]
    Plugin {
        /// The sandbox.
        sandbox: SandboxId,
        /// The network.
        network: String,
        /// Why.
        source: PluginError,
    },
    /// A plugin answered what is no result.
    #[error("CNI plugin {plugin} answered ADD for sandbox {sandbox} with what is no result")]
    Result {
        /// The sandbox.
        sandbox: SandboxId,
        /// The plugin.
        plugin: String,
        /// Why not.
        source: ResultError,
    },
    /// The plugins are content, and the sandbox has no address.
    #[error("network {network} gave sandbox {sandbox} no address")]
    NoAddress {
        /// The sandbox.
        sandbox: SandboxId,
        /// The network.
        network: String,
    },
}

impl Classify for AttachError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Plugin { source, .. } => source.kind(),
            Self::Pin { .. } | Self::Result { .. } | Self::NoAddress { .. } => ErrorKind::Internal,
        }
    }
}

/// What could not be released.
#[derive(Debug, thiserror::Error)]
pub enum DetachError {
    /// A plugin did not do it.
    #[error("sandbox {sandbox} could not be released from network {network}")]
    Plugin {
        /// The sandbox.
        sandbox: SandboxId,
        /// The network.
        network: String,
        /// Why.
        source: PluginError,
    },
    /// Its namespace keeps its path.
    #[error("network namespace of sandbox {sandbox} stays pinned at {}", path.display())]
    Unpin {
        /// The sandbox.
        sandbox: SandboxId,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Classify for DetachError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Plugin { source, .. } => source.kind(),
            Self::Unpin { .. } => ErrorKind::Internal,
        }
    }
}

/// Everything that could not be released; the rest was.
#[derive(Debug)]
pub struct DetachErrors(pub Vec<DetachError>);

impl DetachErrors {
    /// Returns an error unless the list is empty.
    pub(crate) fn check(errors: Vec<DetachError>) -> Result<(), Self> {
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Self(errors))
        }
    }
}

impl fmt::Display for DetachErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for DetachErrors {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.first().and_then(std::error::Error::source)
    }
}

impl Classify for DetachErrors {
    fn kind(&self) -> ErrorKind {
        self.0.first().map_or(ErrorKind::Internal, Classify::kind)
    }
}

/// What is not as it was made.
#[derive(Debug, thiserror::Error)]
#[error("sandbox {sandbox} is no longer joined to network {network} as it was")]
pub struct CheckError {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The network.
    pub network: String,
    /// What a plugin found.
    pub source: PluginError,
}

impl Classify for CheckError {
    fn kind(&self) -> ErrorKind {
        self.source.kind()
    }
}

/// Why sandboxes cannot be joined at present.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// There is no configuration.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// A plugin is missing or says it is not ready.
    #[error("network {network} is not ready")]
    Plugin {
        /// The network.
        network: String,
        /// Why.
        source: PluginError,
    },
    /// A plugin does not speak the configuration's version.
    #[error(
        "CNI plugin {plugin} does not know version {version}, which network {network} is written in"
    )]
    Version {
        /// The network.
        network: String,
        /// The plugin.
        plugin: String,
        /// The version.
        version: SpecVersion,
    },
    /// Blocking work was lost.
    #[error("looking for the network configuration was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl Classify for StatusError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Search(source) => source.kind(),
            Self::Plugin { source, .. } => source.kind(),
            Self::Version { .. } | Self::Interrupted(_) => ErrorKind::Unavailable,
        }
    }
}

/// A plugin that could not forget what is gone.
#[derive(Debug, thiserror::Error)]
#[error("network {network} could not be cleaned of sandboxes that are gone")]
pub struct GcError {
    /// The network.
    pub network: String,
    /// Why.
    pub source: PluginError,
}

impl Classify for GcError {
    fn kind(&self) -> ErrorKind {
        self.source.kind()
    }
}
