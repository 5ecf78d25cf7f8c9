//! Why a profile cannot be used.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use agent_program::{Ending, RunError};
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
    /// Nothing could wait for it.
    #[error("thread that waits for apparmor_parser could not be started")]
    Thread(#[source] io::Error),
    /// It did not come to its own end.
    #[error("program apparmor_parser did not do its work")]
    Run {
        /// Why.
        source: RunError,
    },
    /// It, or the kernel, refused the profile.
    #[error("program {} did not load the profile: it {ending}: {complaint}", program.display())]
    Refused {
        /// The program.
        program: PathBuf,
        /// How it ended.
        ending: Ending,
        /// What it wrote.
        complaint: String,
    },
}
