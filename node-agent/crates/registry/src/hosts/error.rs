//! Why it cannot be told where a registry is served.

use std::io;
use std::path::PathBuf;

use agent_types::{Classify, ErrorKind};

use crate::helper::HelperError;

/// Why a registry's hosts or the node's credentials for it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// A file could not be read.
    #[error("{} could not be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A file is larger than any such file.
    #[error("{} has more than {cap} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        cap: u64,
    },
    /// `hosts.toml` breaks the format.
    #[error("{} is not a valid hosts.toml", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
    /// A value of `hosts.toml` cannot be used.
    #[error("{}: {key} is {value:?}, which is not {wanted}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The setting.
        key: String,
        /// What it says.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A certificate or key is none.
    #[error("{} holds no usable {what}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// "certificate", or "certificate and key".
        what: &'static str,
        /// What is wrong; none if the file is empty of them.
        source: Option<reqwest::Error>,
    },
    /// A docker-style configuration file is not one. What it holds is not shown.
    #[error("{} is not a docker-style configuration file", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
    },
    /// The program that keeps credentials did not say what it has.
    #[error("credentials for registry {registry} are not to be had as {} says", path.display())]
    Helper {
        /// The file that names it.
        path: PathBuf,
        /// The registry.
        registry: String,
        /// What went wrong.
        source: Box<HelperError>,
    },
    /// The reading did not come to its end.
    #[error("hosts of registry {registry} could not be looked up")]
    Interrupted {
        /// The registry.
        registry: String,
    },
}

impl Classify for RouteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } | Self::Interrupted { .. } => ErrorKind::Internal,
            Self::TooLarge { .. }
            | Self::Format { .. }
            | Self::Value { .. }
            | Self::Certificate { .. }
            | Self::Helper { .. }
            | Self::Credentials { .. } => ErrorKind::FailedPrecondition,
        }
    }
}
