//! Why something asked of a launcher or a shim came to nothing.

use std::io;
use std::path::PathBuf;

use agent_sys::fdpass::FrameError;
use agent_sys::memfd::SealedCopyError;
use agent_types::error::kind_of_io;
use agent_types::{Classify, ContainerId, ErrorKind, SandboxId};

/// What kind of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// What was named does not exist.
    NotFound,
    /// The id is taken.
    AlreadyExists,
    /// It can never be done as asked.
    Invalid,
    /// Not in the present state.
    State,
    /// The program does not exist (docker's exit code 127).
    ProgramNotFound,
    /// The program cannot be executed (docker's exit code 126).
    ProgramNotExecutable,
    /// A fault of the shim or of the machine.
    Internal,
}

impl Refusal {
    fn classify(self, errno: i32) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::AlreadyExists => ErrorKind::AlreadyExists,
            Self::Invalid | Self::ProgramNotFound | Self::ProgramNotExecutable => {
                ErrorKind::InvalidArgument
            }
            Self::State => ErrorKind::FailedPrecondition,
            Self::Internal => kind_of_io(&io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Why a shim did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The shim said no.
    #[error("{message}")]
    Refused {
        /// What kind of refusal.
        refusal: Refusal,
        /// What was attempted, on what, and why it failed, in the shim's words.
        message: String,
        /// The kernel's error number; 0: none.
        errno: i32,
    },
    /// The connection or the process is gone.
    #[error("shim is gone")]
    Gone,
    /// The request does not fit on the wire.
    #[error("request could not be sent to the shim")]
    Send {
        /// What is wrong with it.
        source: FrameError,
    },
    /// No pipe could be made for it.
    #[error("pipes for the request could not be made")]
    Pipes {
        /// What the kernel said.
        source: io::Error,
    },
    /// The reply is not one to this request.
    #[error("shim answered {request} with something else")]
    Reply {
        /// The request.
        request: &'static str,
    },
}

impl Classify for RequestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { refusal, errno, .. } => refusal.classify(*errno),
            Self::Gone => ErrorKind::Unavailable,
            Self::Send { source } => match source {
                FrameError::TooLarge { .. } | FrameError::TooManyDescriptors { .. } => {
                    ErrorKind::ResourceExhausted
                }
                FrameError::Receive { .. }
                | FrameError::Send { .. }
                | FrameError::DescriptorsLost
                | FrameError::CutOff => ErrorKind::Unavailable,
            },
            Self::Pipes { source } => kind_of_io(source),
            Self::Reply { .. } => ErrorKind::Internal,
        }
    }
}

/// Why a connection did not come to its first message.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// What was asked for could not be set up.
    #[error("{message}")]
    Refused {
        /// What kind of refusal.
        refusal: Refusal,
        /// What was attempted, on what, and why it failed, in the shim's words.
        message: String,
        /// The kernel's error number; 0: none.
        errno: i32,
    },
    /// The connection ended.
    #[error("connection ended before the first message")]
    Closed,
    /// No answer in time.
    #[error("no answer within {seconds} seconds")]
    TimedOut {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The connection broke.
    #[error("connection broke")]
    Frame {
        /// How.
        source: FrameError,
    },
    /// The first message is not what it must be.
    #[error("first message is not the one expected ({what})")]
    Message {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The socket could not be made or watched.
    #[error("socket could not be used")]
    Socket {
        /// What the kernel said.
        source: io::Error,
    },
}

impl Classify for HandshakeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { refusal, errno, .. } => refusal.classify(*errno),
            Self::Closed | Self::Frame { .. } => ErrorKind::Unavailable,
            Self::TimedOut { .. } => ErrorKind::DeadlineExceeded,
            Self::Message { .. } => ErrorKind::Internal,
            Self::Socket { source } => kind_of_io(source),
        }
    }
}

/// Why no shim was launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no launcher and none could be started.
    #[error("no launcher to launch the shim of sandbox {id} with")]
    Launcher {
        /// The sandbox.
        id: SandboxId,
        /// Why.
        source: Box<StartLauncherError>,
    },
    /// A descriptor could not be made or copied.
    #[error("descriptors for the shim of sandbox {id} could not be made")]
    Descriptors {
        /// The sandbox.
        id: SandboxId,
        /// What the kernel said.
        source: io::Error,
    },
    /// The request could not be sent.
    #[error("launch of the shim of sandbox {id} could not be asked for")]
    Send {
        /// The sandbox.
        id: SandboxId,
        /// Why.
        source: FrameError,
    },
    /// The shim did not come up.
    #[error("shim of sandbox {id} could not be launched")]
    Shim {
        /// The sandbox.
        id: SandboxId,
        /// Why.
        source: HandshakeError,
    },
}

impl Classify for LaunchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Launcher { source, .. } => source.kind(),
            Self::Descriptors { source, .. } => kind_of_io(source),
            Self::Send { .. } => ErrorKind::Unavailable,
            Self::Shim { source, .. } => source.kind(),
        }
    }
}

/// Why the launcher could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartLauncherError {
    /// The binary could not be copied.
    #[error("launcher's binary could not be made safe")]
    Copy {
        /// Why.
        source: SealedCopyError,
    },
    /// The process could not be started.
    #[error("launcher {binary} could not be executed", binary = binary.display())]
    Spawn {
        /// The file it was copied from.
        binary: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It could not be configured.
    #[error("launcher could not be set up")]
    SetUp {
        /// Why.
        source: HandshakeError,
    },
}

impl Classify for StartLauncherError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Copy { .. } => ErrorKind::Internal,
            Self::Spawn { source, .. } => kind_of_io(source),
            Self::SetUp { source } => source.kind(),
        }
    }
}

/// Why a shim could not be connected to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens: the shim has ended, or was killed.
    #[error("no shim serves {directory}", directory = directory.display())]
    Absent {
        /// The sandbox's directory.
        directory: PathBuf,
    },
    /// The kernel refused.
    #[error("shim that serves {directory} could not be connected to", directory = directory.display())]
    Connect {
        /// The sandbox's directory.
        directory: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It did not answer as it must.
    #[error("shim that serves {directory} could not be talked to", directory = directory.display())]
    Shim {
        /// The sandbox's directory.
        directory: PathBuf,
        /// Why.
        source: HandshakeError,
    },
}

impl Classify for ConnectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Absent { .. } => ErrorKind::NotFound,
            Self::Connect { source, .. } => kind_of_io(source),
            Self::Shim { source, .. } => source.kind(),
        }
    }
}

/// Why a written exit could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ExitFileError {
    /// The kernel refused.
    #[error("exit of container {id} could not be read")]
    Read {
        /// The container.
        id: ContainerId,
        /// What the kernel said.
        source: io::Error,
    },
    /// The bytes are not a report.
    #[error("exit of container {id} is not a report")]
    Decode {
        /// The container.
        id: ContainerId,
        /// What is wrong with them.
        source: prost::DecodeError,
    },
    /// The report is of another container.
    #[error("exit of container {id} is another's")]
    Other {
        /// The container.
        id: ContainerId,
    },
}

impl Classify for ExitFileError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } => kind_of_io(source),
            Self::Decode { .. } | Self::Other { .. } => ErrorKind::Internal,
        }
    }
}
