//! Why a container could not be created, started, stopped or removed.

use std::path::PathBuf;
use std::sync::Arc;

use agent_shim_client::RequestError;
use agent_types::{Classify, ContainerId, ErrorKind, ImageId, SandboxId};

pub use super::spec_error::SpecError;
use super::state::InvalidTransition;
use crate::image::EnsureError;
use crate::sandbox::RunError;
use crate::services::Interrupted;

/// Why a container could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Its sandbox does not exist.
    #[error("sandbox {sandbox} does not exist")]
    NoSandbox {
        /// As the caller named it.
        sandbox: String,
    },
    /// Its sandbox does not stand.
    #[error("sandbox {sandbox} is {phase}")]
    SandboxPhase {
        /// The sandbox.
        sandbox: String,
        /// Its phase as words.
        phase: &'static str,
    },
    /// Another container has the name.
    #[error("name {name:?} is taken by container {holder}")]
    NameTaken {
        /// The name asked for.
        name: String,
        /// Who has it.
        holder: ContainerId,
    },
    /// The image is not here.
    #[error("image of container {name:?} is not here")]
    Image {
        /// The container's name.
        name: String,
        /// Why.
        source: crate::image::ResolveError,
    },
    /// An image to be mounted is not here.
    #[error("image to be mounted at {destination} in container {name:?} is not here")]
    MountedImage {
        /// The container's name.
        name: String,
        /// Where it would be mounted.
        destination: String,
        /// Why.
        source: crate::image::ResolveError,
    },
    /// The container whose processes it is to see is not in its sandbox.
    #[error(
        "container {target:?}, whose PID namespace container {name:?} is to share, is not in sandbox {sandbox}"
    )]
    NoTarget {
        /// The container's name.
        name: String,
        /// As the caller named the other one.
        target: String,
        /// The sandbox.
        sandbox: SandboxId,
    },
    /// The container whose processes it is to see has none.
    #[error(
        "container {target}, whose PID namespace container {name:?} is to share, is not running"
    )]
    TargetNotRunning {
        /// The container's name.
        name: String,
        /// The other one.
        target: ContainerId,
    },
    /// The image's layers are not here, and could not be unpacked again.
    #[error("image of container {name:?} could not be unpacked")]
    Layers {
        /// The container's name.
        name: String,
        /// Why.
        source: Box<crate::image::EnsureError>,
    },
    /// Something asked for is not valid.
    #[error("container {name:?} is not valid")]
    Spec {
        /// The container's name.
        name: String,
        /// What.
        source: Box<SpecError>,
    },
    /// No random bytes for an id.
    #[error("container {name:?} could not be given an id")]
    Random {
        /// The container's name.
        name: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A step of making it failed; what was made is undone.
    #[error("container {id} could not be made")]
    Step {
        /// The container.
        id: ContainerId,
        /// The step.
        source: Box<StepError>,
    },
    /// The agent is going down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for CreateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSandbox { .. } => ErrorKind::NotFound,
            Self::SandboxPhase { .. } => ErrorKind::FailedPrecondition,
            Self::NameTaken { .. } => ErrorKind::AlreadyExists,
            Self::Image { source, .. } | Self::MountedImage { source, .. } => source.kind(),
            Self::NoTarget { .. } => ErrorKind::NotFound,
            Self::TargetNotRunning { .. } => ErrorKind::FailedPrecondition,
            Self::Layers { source, .. } => source.kind(),
            Self::Spec { source, .. } => source.kind(),
            Self::Random { .. } => ErrorKind::Internal,
            Self::Step { source, .. } => source.kind(),
            Self::Interrupted(source) => source.kind(),
        }
    }
}

/// A step of making a container that failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The mounts of the host, for another runtime, could not be opened.
    #[error("the host's mount namespace could not be opened")]
    HostMounts(#[source] std::io::Error),
    /// A record was not written.
    #[error(transparent)]
    Save(#[from] agent_store::SaveError),
    /// Its cgroup was not made.
    #[error(transparent)]
    Cgroup(#[from] agent_cgroup::CreateError),
    /// Its limit of processes was not set.
    #[error(transparent)]
    CgroupLimit(#[from] agent_cgroup::UpdateError),
    /// Its cgroup could not be opened.
    #[error(transparent)]
    CgroupDirectory(#[from] agent_cgroup::CgroupError),
    /// Its writable layer was not made.
    #[error(transparent)]
    Snapshot(#[from] agent_snapshot::PrepareError),
    /// Layers of its image that a crash cost are not to be had.
    #[error(transparent)]
    Layers(Box<EnsureError>),
    /// Layers of an image to be mounted are not there.
    #[error("layers of image {image}, which is to be mounted, are not there")]
    ImageLayers {
        /// The image.
        image: ImageId,
        /// Which.
        source: agent_snapshot::LookupError,
    },
    /// Its seccomp filter was not compiled.
    #[error(transparent)]
    Seccomp(#[from] agent_seccomp::CompileError),
    /// A path of the host's, such as the log directory.
    #[error("{} could not be opened", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// What the machine refused of its specification.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Its specification has no JSON form.
    #[error("specification could not be encoded")]
    Encode(#[from] serde_json::Error),
    /// The shim could not set it up.
    #[error(transparent)]
    Shim(#[from] RequestError),
    /// The agent is going down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for StepError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Save(source) => source.kind(),
            Self::Cgroup(source) => source.kind(),
            Self::CgroupLimit(source) => source.kind(),
            Self::CgroupDirectory(source) => source.kind(),
            Self::Snapshot(source) => source.kind(),
            Self::Layers(source) => source.kind(),
            Self::ImageLayers { source, .. } => source.kind(),
            Self::Seccomp(source) => source.kind(),
            Self::Path { source, .. } => agent_types::error::kind_of_io(source),
            Self::Spec(source) => source.kind(),
            Self::HostMounts(_) | Self::Encode(_) => ErrorKind::Internal,
            Self::Shim(source) => source.kind(),
            Self::Interrupted(source) => source.kind(),
        }
    }
}

/// Why a container could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
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
    /// Its life does not allow it now.
    #[error("container {id} cannot be started")]
    State {
        /// The container.
        id: ContainerId,
        /// Why.
        source: InvalidTransition,
    },
    /// It is being removed, or its sandbox is.
    #[error("container {id} is being removed")]
    Going {
        /// The container.
        id: ContainerId,
    },
    /// The program could not be executed.
    #[error("program of container {id} could not be executed")]
    Program {
        /// The container.
        id: ContainerId,
        /// What the shim said.
        source: RequestError,
    },
    /// The shim did not do it.
    #[error("container {id} could not be started")]
    Shim {
        /// The container.
        id: ContainerId,
        /// What it said.
        source: RequestError,
    },
    /// Its sandbox could not be brought up (a person's container).
    #[error(transparent)]
    Sandbox(Box<RunError>),
    /// It could not be set up (a person's container).
    #[error(transparent)]
    Setup(Box<CreateError>),
    /// That it is to run could not be noted (a person's container).
    #[error(transparent)]
    Wish(Arc<StopError>),
    /// The agent is going down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl StartError {
    /// Returns docker's exit code for it: 127 for a program that is not there, 126 for one that
    /// cannot be executed, `None` for everything else.
    #[must_use]
    pub fn program_exit_code(&self) -> Option<i32> {
        match self {
            Self::Program { source, .. } => crate::shim::program_exit_code(source),
            _ => None,
        }
    }
}

impl Classify for StartError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. } => ErrorKind::InvalidArgument,
            Self::State { .. } | Self::Going { .. } => ErrorKind::FailedPrecondition,
            Self::Program { .. } => ErrorKind::InvalidArgument,
            Self::Shim { source, .. } => source.kind(),
            Self::Sandbox(source) => source.kind(),
            Self::Wish(source) => source.kind(),
            Self::Setup(source) => source.kind(),
            Self::Interrupted(source) => source.kind(),
        }
    }
}

/// Why a container could not be stopped or signalled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StopError {
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
    /// The shim did not do it.
    #[error("container {id} could not be signalled")]
    Shim {
        /// The container.
        id: ContainerId,
        /// What it said.
        source: Arc<RequestError>,
    },
    /// What is asked of it could not be noted, so it might be started again.
    #[error("record of container {id} could not be saved")]
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

impl Classify for StopError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. } => ErrorKind::InvalidArgument,
            Self::NotRunning { .. } => ErrorKind::FailedPrecondition,
            Self::Shim { source, .. } => source.kind(),
            Self::Save { source, .. } => source.kind(),
            Self::Interrupted(source) => source.kind(),
        }
    }
}

/// Why a container could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
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
    /// It has ended, and is about to be started by itself.
    #[error("container {id} is about to be started again")]
    Restarting {
        /// The container.
        id: ContainerId,
    },
    /// It runs, and the caller did not force it.
    #[error("container {id} is running")]
    Running {
        /// The container.
        id: ContainerId,
    },
    /// A part of it could not be removed; the record stays, and another try goes on.
    #[error("container {id} was not removed in full")]
    Step {
        /// The container.
        id: ContainerId,
        /// The part.
        source: RemoveStepError,
    },
    /// The agent is going down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for RemoveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. } => ErrorKind::InvalidArgument,
            Self::Running { .. } | Self::Restarting { .. } => ErrorKind::FailedPrecondition,
            Self::Step { source, .. } => source.kind(),
            Self::Interrupted(source) => source.kind(),
        }
    }
}

/// A part of a container that could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveStepError {
    /// Its writable layer.
    #[error(transparent)]
    Snapshot(#[from] agent_snapshot::RemoveError),
    /// Its cgroup.
    #[error(transparent)]
    Cgroup(#[from] agent_cgroup::RemoveError),
    /// Its record.
    #[error(transparent)]
    Save(#[from] agent_store::SaveError),
    /// Its logs.
    #[error("{} was not removed", path.display())]
    Logs {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl Classify for RemoveStepError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Snapshot(source) => source.kind(),
            Self::Cgroup(source) => source.kind(),
            Self::Save(source) => source.kind(),
            Self::Logs { source, .. } => agent_types::error::kind_of_io(source),
        }
    }
}
