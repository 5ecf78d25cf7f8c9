//! Why a profile cannot be read or compiled.

use agent_types::{Classify, ErrorKind};

/// Why bytes are not a profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// More bytes than a profile can need.
    #[error("seccomp profile has {length} bytes, more than {limit}")]
    TooLarge {
        /// Its length.
        length: usize,
        /// The most that is read.
        limit: usize,
    },
    /// Not JSON, or with keys or words that no profile has.
    #[error("seccomp profile is not one")]
    Json {
        /// Where, and what is wrong.
        source: serde_json::Error,
    },
    /// An errno the kernel does not return.
    #[error("seccomp profile answers with errno {errno}, more than 4095")]
    Errno {
        /// The refused number.
        errno: u32,
    },
    /// An argument index above 5.
    #[error("seccomp profile tests argument {index} of {name}, which has six at most")]
    Argument {
        /// The refused index.
        index: u32,
        /// The system call.
        name: String,
    },
    /// Not a capability.
    #[error("seccomp profile names the capability {name:?}, which does not exist")]
    Capability {
        /// The refused name, cut to 200 characters.
        name: String,
    },
    /// Not a version such as `4.8`.
    #[error("seccomp profile names the kernel {version:?}, which is no version")]
    Kernel {
        /// The refused text, cut to 200 characters.
        version: String,
    },
    /// Something this node does not do: notifications to another process.
    #[error("seccomp profile wants {what}, which this node does not support")]
    Unsupported {
        /// What it wants.
        what: &'static str,
    },
    /// A rule with neither `names` nor `name`, or with both.
    #[error("seccomp profile has a rule that names no system call, or names them twice")]
    Names,
}

impl Classify for ProfileError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unsupported { .. } => ErrorKind::Unimplemented,
            Self::TooLarge { .. }
            | Self::Json { .. }
            | Self::Errno { .. }
            | Self::Argument { .. }
            | Self::Capability { .. }
            | Self::Kernel { .. }
            | Self::Names => ErrorKind::InvalidArgument,
        }
    }
}

/// Why a profile cannot become a program.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A call that the profile forbids cannot be found, and everything unlisted is allowed.
    #[error("seccomp profile forbids {name:?}, which libseccomp does not know")]
    UnknownCall {
        /// The system call.
        name: String,
    },
    /// libseccomp refused a rule.
    #[error("seccomp rule for {name:?} was refused")]
    Rule {
        /// The system call.
        name: String,
        /// What libseccomp said.
        source: libseccomp::error::SeccompError,
    },
    /// libseccomp failed at something else.
    #[error("seccomp filter could not be compiled: {step}")]
    Library {
        /// What was being done.
        step: &'static str,
        /// What libseccomp said.
        source: libseccomp::error::SeccompError,
    },
    /// The program could not be taken out of libseccomp.
    #[error("compiled seccomp filter could not be read")]
    Export {
        /// What the kernel said.
        source: std::io::Error,
    },
    /// More instructions than the kernel loads.
    #[error("seccomp filter has {instructions} instructions, more than {limit}")]
    TooLong {
        /// Its length.
        instructions: usize,
        /// The kernel's limit.
        limit: usize,
    },
}

impl Classify for CompileError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownCall { .. } | Self::Rule { .. } | Self::TooLong { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::Library { .. } | Self::Export { .. } => ErrorKind::Internal,
        }
    }
}

/// Returns `text` cut to what a message can carry.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}
