//! Why there is no label.

use std::io;
use std::path::PathBuf;

use agent_types::{Classify, ErrorKind};

/// Why a container or a pod has no labels.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// There is no policy.
    #[error("SELinux label {label:?} cannot be used: SELinux is not enabled on this node")]
    Absent {
        /// What was asked for.
        label: String,
    },
    /// No label is like this.
    #[error("SELinux {part} {text:?} is none that a label can have")]
    Part {
        /// Which part.
        part: &'static str,
        /// Its beginning.
        text: String,
    },
    /// Nobody says it.
    #[error("SELinux {part} is not given, and the policy has none for containers")]
    Missing {
        /// Which part.
        part: &'static str,
    },
    /// The policy does not know it.
    #[error("SELinux label {label:?} is not known to the policy")]
    Unknown {
        /// The label.
        label: String,
    },
    /// The kernel did not say whether the policy knows it.
    #[error("SELinux label {label:?} could not be checked")]
    Check {
        /// The label.
        label: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of the policy's cannot be read.
    #[error("{} could not be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not say what it is there for.
    #[error("{} has no labels of a process and its files", path.display())]
    Contexts {
        /// The file.
        path: PathBuf,
    },
    /// Every level is somebody's.
    #[error("no SELinux level is free")]
    Taken,
    /// None could be chosen.
    #[error("no SELinux level could be chosen")]
    Random(#[source] io::Error),
}

impl Classify for LabelError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Absent { .. }
            | Self::Part { .. }
            | Self::Missing { .. }
            | Self::Unknown { .. } => ErrorKind::InvalidArgument,
            Self::Read { .. } | Self::Contexts { .. } => ErrorKind::FailedPrecondition,
            Self::Taken => ErrorKind::ResourceExhausted,
            Self::Check { .. } | Self::Random(_) => ErrorKind::Internal,
        }
    }
}

/// Why files have no label.
#[derive(Debug, thiserror::Error)]
pub enum RelabelError {
    /// The machine would not work any more.
    #[error("{} belongs to the system, and is not given a container's SELinux label", path.display())]
    System {
        /// Where the path leads.
        path: PathBuf,
    },
    /// It is nested too deeply.
    #[error("{} has more than {limit} directories within each other", path.display())]
    Deep {
        /// The path.
        path: PathBuf,
        /// Most.
        limit: usize,
    },
    /// The kernel refused.
    #[error("{} could not be given the SELinux label {label}", path.display())]
    Set {
        /// The file, or the directory that it is in.
        path: PathBuf,
        /// The label.
        label: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Classify for RelabelError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::System { .. } | Self::Deep { .. } => ErrorKind::InvalidArgument,
            Self::Set { .. } => ErrorKind::FailedPrecondition,
        }
    }
}
