//! Why a plan cannot become a container.

use agent_types::{Classify, ErrorKind};

/// What was refused: the field, its value, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Neither the image nor the request names a program.
    #[error("no command is given, and the image has none")]
    NoCommand,
    /// A text with a NUL, which no system call can take.
    #[error("{field} {value:?} has a NUL")]
    Nul {
        /// Where it was.
        field: &'static str,
        /// The text, cut to 200 characters.
        value: String,
    },
    /// An environment variable that cannot be one.
    #[error("environment variable {name:?} {problem}")]
    Environment {
        /// Its name, cut to 200 characters.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Not `user` or `user:group`, or a number the kernel would wrap.
    #[error("user {user:?} {problem}")]
    User {
        /// The refused text, cut to 200 characters.
        user: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Not a capability of this kernel.
    #[error("capability {name:?} does not exist on this machine")]
    Capability {
        /// The refused name, cut to 200 characters.
        name: String,
    },
    /// Not a resource limit, or a soft limit above the hard one.
    #[error("rlimit {name:?} {problem}")]
    Rlimit {
        /// The name, cut to 200 characters.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Not a sysctl a container may set here.
    #[error("sysctl {name:?} {problem}")]
    Sysctl {
        /// The name, cut to 200 characters.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A path that could lead elsewhere than it says.
    #[error("{field} {path:?} {problem}")]
    Path {
        /// Where it was.
        field: &'static str,
        /// The path, cut to 200 characters.
        path: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A mount option that could be read as several, or that is none.
    #[error("option {option:?} of the mount at {destination} is not one that it can have")]
    MountOption {
        /// Where it would be mounted.
        destination: String,
        /// The refused option, cut to 200 characters.
        option: String,
    },
    /// Not a device node or device rule.
    #[error("device {device:?} {problem}")]
    Device {
        /// The path or rule, cut to 200 characters.
        device: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Not the name or number of a signal.
    #[error("signal {signal:?} does not exist")]
    Signal {
        /// The refused text, cut to 200 characters.
        signal: String,
    },
}

impl Classify for PlanError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Returns `text` cut to what a message can carry.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Refuses a text with a NUL.
pub(crate) fn without_nul(field: &'static str, text: &str) -> Result<(), PlanError> {
    if text.contains('\0') {
        return Err(PlanError::Nul {
            field,
            value: shown(text),
        });
    }
    Ok(())
}
