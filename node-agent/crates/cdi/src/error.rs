//! Why a device is not to be had.

use std::io;
use std::path::PathBuf;

use agent_types::{Classify, ErrorKind};

use crate::yaml::YamlError;

/// Why devices could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Not `vendor.com/class=device`.
    #[error("CDI device name {name:?} is not of the form vendor.com/class=device")]
    Name {
        /// The refused name, cut to 200 characters.
        name: String,
    },
    /// No specification has it.
    #[error("CDI device {name} is in no specification{}", listed(.broken))]
    Unknown {
        /// The device.
        name: String,
        /// Specifications that could not be read: it may be in one of them.
        broken: Vec<SpecFileError>,
    },
    /// Two specifications of one directory have it.
    #[error("CDI device {name} is in both {} and {}", one.display(), other.display())]
    Conflict {
        /// The device.
        name: String,
        /// One of the files.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// It asks for something that cannot be given here.
    #[error("CDI device {name} asks for {what}, which this node does not do")]
    Unsupported {
        /// The device.
        name: String,
        /// What it asks for.
        what: &'static str,
    },
}

/// Lists the files that could not be read.
fn listed(files: &[SpecFileError]) -> String {
    let mut text = String::new();
    for error in files {
        text.push_str("; ");
        text.push_str(&error.to_string());
    }
    text
}

impl Classify for ResolveError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Why a specification could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SpecFileError {
    /// The file could not be read.
    #[error("CDI specification {} could not be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is no file, or too large.
    #[error("CDI specification {} is no file of at most 1 MiB", path.display())]
    File {
        /// The file.
        path: PathBuf,
    },
    /// Its text is not one.
    #[error("CDI specification {} is malformed", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
    /// Its text is not one.
    #[error("CDI specification {} is malformed", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where.
        source: YamlError,
    },
    /// Something in it is not valid.
    #[error("CDI specification {}: {what} {text:?} is not valid", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// Its text, cut to 200 characters.
        text: String,
    },
}
