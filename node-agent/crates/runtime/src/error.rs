//! Why an operation of the runtime failed: one enum each.

use agent_sys::mount::FilesystemError;
use agent_sys::process::ForkError;
use agent_types::{Classify, ErrorKind};

use crate::channel::ChannelError;
use crate::failure::{Failure, FailureKind};

macro_rules! operation_error {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, thiserror::Error)]
        pub enum $name {
            /// No process could be made.
            #[error("no process for {} could be forked", $what)]
            Fork(#[source] ForkError),
            /// The new process and its maker could not talk.
            #[error("the process made for {} could not be followed", $what)]
            Channel(#[source] ChannelError),
            /// The new process reported a step that failed.
            #[error(transparent)]
            Step(Failure),
        }

        impl $name {
            /// Returns the kind of failure.
            #[must_use]
            pub const fn kind(&self) -> FailureKind {
                match self {
                    Self::Fork(_) | Self::Channel(_) => FailureKind::Internal,
                    Self::Step(failure) => failure.kind(),
                }
            }

            /// Returns the kernel's error number, 0 if there is none.
            #[must_use]
            pub fn errno(&self) -> i32 {
                match self {
                    Self::Fork(error) => error.errno(),
                    Self::Channel(error) => error.errno(),
                    Self::Step(failure) => failure.errno(),
                }
            }
        }

        impl Classify for $name {
            fn kind(&self) -> ErrorKind {
                self.kind().classify()
            }
        }
    };
}

operation_error!(
    /// Why a container could not be created.
    CreateError,
    "the container"
);
operation_error!(
    /// Why a program could not be executed in a running container.
    ExecError,
    "the exec session"
);
operation_error!(
    /// Why the first process of a shared PID namespace could not be made.
    ReaperError,
    "the PID namespace"
);

impl CreateError {
    /// Returns the same in the form that is told from process to process.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Step(failure) => failure,
            Self::Fork(_) | Self::Channel(_) => Failure::of("create", "the container", &self),
        }
    }
}

/// Why a created container did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The waiting process could not be told, or did not answer.
    #[error("the container's process could not be followed")]
    Channel(#[source] ChannelError),
    /// The waiting process reported why its program does not run.
    #[error(transparent)]
    Step(Failure),
}

impl StartError {
    /// Returns the kind of failure.
    #[must_use]
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::Channel(_) => FailureKind::Internal,
            Self::Step(failure) => failure.kind(),
        }
    }

    /// Returns the kernel's error number, 0 if there is none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Channel(error) => error.errno(),
            Self::Step(failure) => failure.errno(),
        }
    }
}

impl StartError {
    /// Returns the same in the form that is told from process to process.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Step(failure) => failure,
            Self::Channel(_) => Failure::of("start", "the container", &self),
        }
    }
}

impl Classify for StartError {
    fn kind(&self) -> ErrorKind {
        self.kind().classify()
    }
}

/// Why a mount that containers share could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SharedMountError {
    /// The file system could not be made.
    #[error("a file system for the containers of the sandbox could not be made")]
    Filesystem(#[source] FilesystemError),
    /// The kernel copies attached mounts only, and attaching failed.
    #[error("a shared mount could not be attached")]
    Attach(#[source] std::io::Error),
    /// The mount could not be copied.
    #[error("a shared mount could not be copied")]
    Copy(#[source] std::io::Error),
}

impl SharedMountError {
    /// Returns what the kernel said.
    pub(crate) fn into_io(self) -> std::io::Error {
        match self {
            Self::Filesystem(error) => crate::init::copy_of_error(error.io()),
            Self::Attach(source) | Self::Copy(source) => source,
        }
    }
}

impl Classify for SharedMountError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// Why a user namespace could not be made.
#[derive(Debug, thiserror::Error)]
pub enum UserNamespaceError {
    /// No pipe for the process that lives in it.
    #[error("no pipe for a user namespace could be made")]
    Pipe(#[source] std::io::Error),
    /// No process to live in it: the kernel may allow no further ones.
    #[error("no process in a user namespace could be made")]
    Fork(#[source] ForkError),
    /// No procfs could be mounted to write through.
    #[error("a private procfs could not be mounted")]
    Procfs(#[source] FilesystemError),
    /// The kernel refused the ids.
    #[error("{file} of a user namespace could not be written")]
    Map {
        /// `uid_map` or `gid_map`.
        file: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A namespace could not be kept.
    #[error("{name} namespace of a user namespace could not be opened")]
    Open {
        /// Its name in procfs.
        name: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl UserNamespaceError {
    /// Returns the kernel's error number, 0 if there is none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Fork(error) => error.errno(),
            Self::Procfs(error) => error.io().raw_os_error().unwrap_or(0),
            Self::Pipe(source) | Self::Map { source, .. } | Self::Open { source, .. } => {
                source.raw_os_error().unwrap_or(0)
            }
        }
    }
}

impl Classify for UserNamespaceError {
    fn kind(&self) -> ErrorKind {
        match self {
            // Ids that overlap, or that the caller may not map.
            Self::Map { .. } => ErrorKind::InvalidArgument,
            Self::Pipe(_) | Self::Fork(_) | Self::Procfs(_) | Self::Open { .. } => {
                ErrorKind::Internal
            }
        }
    }
}

/// Why a sysctl could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// No procfs could be mounted to write through.
    #[error("a private procfs could not be mounted")]
    Procfs(#[source] FilesystemError),
    /// The name has characters that no sysctl has.
    #[error("sysctl name {name:?} is not valid")]
    Name {
        /// The refused name.
        name: String,
    },
    /// The kernel refused the value.
    #[error("sysctl {name} could not be set to {value:?}")]
    Write {
        /// Its name.
        name: String,
        /// The refused value.
        value: String,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl Classify for SysctlError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Procfs(_) => ErrorKind::Internal,
            Self::Name { .. } | Self::Write { .. } => ErrorKind::InvalidArgument,
        }
    }
}
