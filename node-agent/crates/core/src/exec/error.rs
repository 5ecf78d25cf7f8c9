//! Why a process could not be run in a container.

use std::time::Duration;

use agent_shim_client::RequestError;
use agent_types::{Classify, ContainerId, ErrorKind};

use crate::services::Interrupted;

/// Why a process could not be run, or did not end in time.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// There is no such container.
    #[error("container {id} does not exist")]
    NotFound {
        /// As the caller named it.
        id: String,
    },
    /// The prefix fits more than one.
    #[error("container {id} is not the only one whose id begins so")]
    Ambiguous {
        /// As the caller named it.
        id: String,
    },
    /// It does not run.
    #[error("container {id} is not running")]
    NotRunning {
        /// The container.
        id: ContainerId,
    },
    /// What is asked for is not valid.
    #[error("process for container {container} is not valid")]
    Spec {
        /// The container.
        container: ContainerId,
        /// What is wrong with it.
        source: agent_oci::PlanError,
    },
    /// The seccomp filter could not be made.
    #[error("seccomp filter for container {container} could not be made")]
    Filter {
        /// The container.
        container: ContainerId,
        /// Why.
        source: Box<crate::container::StepError>,
    },
    /// The specification has no JSON form.
    #[error("process for container {container} could not be encoded")]
    Encode {
        /// The container.
        container: ContainerId,
        /// What the encoder said.
        source: serde_json::Error,
    },
    /// No random bytes for an id.
    #[error("process for container {container} could not be named")]
    Random {
        /// The container.
        container: ContainerId,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The program could not be executed.
    #[error("program could not be executed in container {container}")]
    Program {
        /// The container.
        container: ContainerId,
        /// What the shim said.
        source: RequestError,
    },
    /// The shim did not do it.
    #[error("process could not be run in container {container}")]
    Shim {
        /// The container.
        container: ContainerId,
        /// What it said.
        source: RequestError,
    },
    /// It ran longer than allowed, and was killed.
    #[error("process in container {container} did not end within {} s", timeout.as_secs_f32())]
    TimedOut {
        /// The container.
        container: ContainerId,
        /// The time it had.
        timeout: Duration,
    },
    /// Its streams could not be read.
    #[error("output of the process in container {container} could not be read")]
    Stream {
        /// The container.
        container: ContainerId,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The agent is going down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl ExecError {
    pub(crate) fn from_shim(container: &ContainerId, source: RequestError) -> Self {
        let container = container.clone();
        if crate::shim::program_exit_code(&source).is_some() {
            Self::Program { container, source }
        } else {
            Self::Shim { container, source }
        }
    }

    /// Returns docker's exit code for it: 127 for a program or a working directory that is not
    /// there, 126 for one that cannot be executed or entered, `None` for everything else.
    #[must_use]
    pub fn program_exit_code(&self) -> Option<i32> {
        match self {
            Self::Program { source, .. } => crate::shim::program_exit_code(source),
            Self::Shim { source, .. } => crate::shim::directory_exit_code(source),
            _ => None,
        }
    }
}

impl Classify for ExecError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. } => ErrorKind::InvalidArgument,
            Self::NotRunning { .. } => ErrorKind::FailedPrecondition,
            Self::Spec { source, .. } => source.kind(),
            Self::Filter { source, .. } => source.kind(),
            Self::Encode { .. } | Self::Random { .. } | Self::Stream { .. } => ErrorKind::Internal,
            Self::Program { .. } => ErrorKind::InvalidArgument,
            Self::Shim { source, .. } => source.kind(),
            Self::TimedOut { .. } => ErrorKind::DeadlineExceeded,
            Self::Interrupted(source) => source.kind(),
        }
    }
}
