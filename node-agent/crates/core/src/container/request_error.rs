//! Why a request to a container that exists was not done.

use agent_shim_client::RequestError;
use agent_types::{Classify, ContainerId, ErrorKind};

use super::error::StopError;
use crate::services::Interrupted;

/// Why a client could not be connected to a container.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The container was not found.
    #[error(transparent)]
    Find {
        /// Why.
        #[from]
        source: StopError,
    },
    /// There is no such container.
    #[error("container {id} does not exist")]
    NotFound {
        /// As the caller named it.
        id: String,
    },
    /// It has ended.
    #[error("container {id} is not running")]
    NotRunning {
        /// The container.
        id: ContainerId,
    },
    /// The shim did not do it.
    #[error("container {id} could not be attached to")]
    Shim {
        /// The container.
        id: ContainerId,
        /// What it said.
        source: RequestError,
    },
}

impl Classify for AttachError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Find { source } => source.kind(),
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::NotRunning { .. } => ErrorKind::FailedPrecondition,
            Self::Shim { source, .. } => source.kind(),
        }
    }
}

/// Why a terminal's size could not be set.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    /// The container was not found.
    #[error(transparent)]
    Find {
        /// Why.
        source: StopError,
    },
    /// It does not run.
    #[error("container {id} is not running")]
    NotRunning {
        /// The container.
        id: ContainerId,
    },
    /// The shim did not do it.
    #[error("terminal of container {id} could not be resized")]
    Shim {
        /// The container.
        id: ContainerId,
        /// What it said.
        source: RequestError,
    },
}

impl Classify for ResizeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Find { source } => source.kind(),
            Self::NotRunning { .. } => ErrorKind::FailedPrecondition,
            Self::Shim { source, .. } => source.kind(),
        }
    }
}

/// Why a log could not be opened again.
#[derive(Debug, thiserror::Error)]
pub enum ReopenError {
    /// The container was not found.
    #[error(transparent)]
    Find {
        /// Why.
        source: StopError,
    },
    /// It does not run.
    #[error("container {id} is not running")]
    NotRunning {
        /// The container.
        id: ContainerId,
    },
    /// The shim did not do it.
    #[error("log of container {id} could not be opened again")]
    Shim {
        /// The container.
        id: ContainerId,
        /// What it said.
        source: RequestError,
    },
}

impl Classify for ReopenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Find { source } => source.kind(),
            Self::NotRunning { .. } => ErrorKind::FailedPrecondition,
            Self::Shim { source, .. } => source.kind(),
        }
    }
}

/// Why a container's limits could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The container was not found.
    #[error(transparent)]
    Find {
        /// Why.
        source: StopError,
    },
    /// It has ended.
    #[error("container {id} has ended")]
    Ended {
        /// The container.
        id: ContainerId,
    },
    /// A limit cannot hold.
    #[error("limits of container {id} are not valid")]
    Limit {
        /// The container.
        id: ContainerId,
        /// Which.
        source: agent_cgroup::LimitError,
    },
    /// Its score is out of range.
    #[error("oom score of container {id} is {value}, outside -1000 to 1000")]
    OomScore {
        /// The container.
        id: ContainerId,
        /// The score.
        value: i32,
    },
    /// Its cgroup could not be opened.
    #[error("cgroup of container {id} could not be opened")]
    Cgroup {
        /// The container.
        id: ContainerId,
        /// Why.
        source: agent_cgroup::CgroupError,
    },
    /// The kernel refused; the limits are as they were.
    #[error("limits of container {id} were not changed")]
    Write {
        /// The container.
        id: ContainerId,
        /// Why.
        source: agent_cgroup::UpdateError,
    },
    /// The record was not written; the limits hold until the container ends.
    #[error("limits of container {id} were not saved")]
    Save {
        /// The container.
        id: ContainerId,
        /// Why.
        source: agent_store::SaveError,
    },
    /// The agent is going down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for UpdateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Find { source } => source.kind(),
            Self::Ended { .. } => ErrorKind::FailedPrecondition,
            Self::Limit { source, .. } => source.kind(),
            Self::OomScore { .. } => ErrorKind::InvalidArgument,
            Self::Cgroup { source, .. } => source.kind(),
            Self::Write { source, .. } => source.kind(),
            Self::Save { source, .. } => source.kind(),
            Self::Interrupted(source) => source.kind(),
        }
    }
}
