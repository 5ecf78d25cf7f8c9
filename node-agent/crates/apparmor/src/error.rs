//! Why a profile cannot be used.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;

use agent_types::{Classify, ErrorKind};

/// Why no program can be put under a profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// There is no AppArmor.
    #[error("AppArmor profile {name:?} cannot be used: the kernel has no AppArmor")]
    Absent {
        /// The profile.
        name: String,
    },
    /// There is no such profile.
    #[error("AppArmor profile {name:?} is not loaded")]
    NotLoaded {
        /// The profile.
        name: String,
    },
    /// It cannot be told.
    #[error("list of AppArmor's profiles {} could not be read", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The node's own profile is not there.
    #[error("default AppArmor profile is not loaded")]
    Default {
        /// Why.
        source: Arc<LoadError>,
    },
}

impl Classify for ProfileError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Absent { .. } | Self::NotLoaded { .. } => ErrorKind::InvalidArgument,
            Self::List { .. } | Self::Default { .. } => ErrorKind::FailedPrecondition,
        }
    }
}

/// Why the node's own profile was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// AppArmor's own program is not installed.
    #[error("program apparmor_parser is not on this machine")]
    NoParser,
    /// It could not be run.
    #[error("program {} could not be run", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It, or the kernel, refused the profile.
    #[error("program {} did not load the profile ({status}): {complaint}", program.display())]
    Refused {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote.
        complaint: String,
    },
}
