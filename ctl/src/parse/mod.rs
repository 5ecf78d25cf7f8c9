//! Values of flags, as docker's users write them.
//!
//! Owns: one parser per form, each from text to what the agent is sent.
//! Does not: ask the agent, or read files but those a flag names.
//! Start reading at `port.rs`.

pub(crate) mod host;
pub(crate) mod key_value;
pub(crate) mod limit;
pub(crate) mod moment;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod port;
pub(crate) mod quantity;
pub(crate) mod restart;

use std::io;
use std::path::PathBuf;

/// Why a value cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("{text:?} is not {expected}")]
    Form {
        text: String,
        expected: &'static str,
    },
    #[error("{host} has not as many ports as {container}")]
    UnequalRanges { host: String, container: String },
    #[error("named volume {name:?} cannot be mounted: only paths of the host can, so far")]
    NamedVolume { name: String },
    #[error(
        "{destination} has no path of the host to mount there: there are no volumes without one, so far"
    )]
    NoSource { destination: String },
    #[error("{key} is not known to {place}")]
    UnknownKey { key: String, place: &'static str },
    #[error("filter {key} is not known to {place}")]
    UnknownFilter {
        key: String,
        place: &'static str,
        known: String,
    },
    #[error("{place} needs {key}")]
    MissingKey {
        key: &'static str,
        place: &'static str,
    },
    #[error("{} cannot be read", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the working directory cannot be told")]
    WorkingDirectory { source: io::Error },
    #[error("line {line}: {text:?} is not {expected}")]
    Line {
        line: usize,
        text: String,
        expected: &'static str,
    },
    #[error("{} is not JSON", path.display())]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
}

impl ParseError {
    /// Returns the error for `text` that is not of the form `expected`.
    pub(crate) fn form(text: &str, expected: &'static str) -> Self {
        Self::Form {
            text: text.to_owned(),
            expected,
        }
    }

    /// Returns what to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NamedVolume { .. } => "a path begins with / or ./".into(),
            Self::UnknownFilter { known, .. } => format!("filters here: {known}"),
            Self::File { .. } | Self::WorkingDirectory { .. } => crate::error::hints::FILE.into(),
            _ => "the command's --help tells what it takes".into(),
        }
    }
}
