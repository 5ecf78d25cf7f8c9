//! Why a sandbox could not be run, stopped or removed.

use std::path::PathBuf;
use std::sync::Arc;

use agent_types::{Classify, ErrorKind, SandboxId};

use crate::services::Interrupted;

/// Why a sandbox could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another sandbox has the name.
    #[error("name {name:?} is taken by sandbox {holder}")]
    NameTaken {
        /// The name asked for.
        name: String,
        /// Who has it.
        holder: SandboxId,
    },
    /// The runtime handler is not configured on this node.
    #[error("runtime handler {handler:?} is not configured")]
    Handler {
        /// The name asked for.
        handler: String,
    },
    /// No user namespaces on this node.
    #[error(
        "sandbox {name:?} wants a user namespace, which runtime handler {handler:?} does not have on this node"
    )]
    UserNamespace {
        /// The sandbox's name.
        name: String,
        /// Its runtime handler.
        handler: String,
    },
    /// A sysctl, or another part that becomes a specification, is refused.
    #[error("sandbox {name:?} is not valid")]
    Spec {
        /// The sandbox's name.
        name: String,
        /// What is wrong with it.
        source: agent_oci::PlanError,
    },
    /// A host name, search domain or option cannot be written to a file of lines.
    #[error("names of sandbox {name:?} are not valid")]
    Files {
        /// The sandbox's name.
        name: String,
        /// Which.
        source: agent_network::files::LineError,
    },
    /// The cgroup parent is no path of a cgroup.
    #[error("cgroup parent of sandbox {name:?} is not valid")]
    CgroupParent {
        /// The sandbox's name.
        name: String,
        /// What is wrong with it.
        source: agent_cgroup::PathError,
    },
    /// A limit of the pod as a whole cannot hold.
    #[error("limits of sandbox {name:?} are not valid")]
    Limit {
        /// The sandbox's name.
        name: String,
        /// Which.
        source: agent_cgroup::LimitError,
    },
    /// An SELinux label is not to be had.
    #[error("SELinux labels of sandbox {name:?} are not to be had")]
    Selinux {
        /// The sandbox's name.
        name: String,
        /// Why.
        source: agent_selinux::LabelError,
    },
    /// The container whose network is to be joined does not run.
    #[error("container {container}, whose network sandbox {name:?} joins, is not running")]
    Join {
        /// The sandbox's name.
        name: String,
        /// The other container.
        container: String,
    },
    /// No random bytes for an id.
    #[error("sandbox {name:?} could not be given an id")]
    Random {
        /// The sandbox's name.
        name: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A step of making it failed; what was made is undone.
    #[error("sandbox {id} could not be made")]
    Step {
        /// The sandbox.
        id: SandboxId,
        /// The step.
        source: Box<StepError>,
    },
}

impl Classify for RunError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NameTaken { .. } => ErrorKind::AlreadyExists,
            Self::Handler { .. } | Self::Files { .. } => ErrorKind::InvalidArgument,
            Self::Selinux { source, .. } => source.kind(),
            Self::Spec { source, .. } => source.kind(),
            Self::CgroupParent { source, .. } => source.kind(),
            Self::Limit { source, .. } => source.kind(),
            Self::Join { .. } | Self::UserNamespace { .. } => ErrorKind::FailedPrecondition,
            Self::Random { .. } => ErrorKind::Internal,
            Self::Step { source, .. } => source.kind(),
        }
    }
}

/// A step of making or ending a sandbox that failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A record was not written.
    #[error(transparent)]
    Save(#[from] agent_store::SaveError),
    /// A cgroup was not made.
    #[error(transparent)]
    Cgroup(#[from] agent_cgroup::CreateError),
    /// The pod's cgroup was not limited.
    #[error("pod's cgroup could not be limited")]
    Limits(#[from] agent_cgroup::UpdateError),
    /// The seccomp filter was not compiled.
    #[error(transparent)]
    Seccomp(#[from] agent_seccomp::CompileError),
    /// No address or port was to be had.
    #[error(transparent)]
    Reserve(#[from] agent_network::ReserveError),
    /// The network was not made.
    #[error(transparent)]
    Attach(#[from] agent_network::AttachError),
    /// It could not be said how plugins are to make the network.
    #[error(transparent)]
    Plan(#[from] agent_cni::PlanError),
    /// Plugins did not make the network.
    #[error(transparent)]
    Plugins(#[from] agent_cni::AttachError),
    /// A limit of traffic is not one.
    #[error(transparent)]
    Bandwidth(#[from] super::bandwidth::BandwidthError),
    /// The shim did not start.
    #[error(transparent)]
    Launch(#[from] agent_shim_client::LaunchError),
    /// The content of a file could not be made.
    #[error(transparent)]
    Line(#[from] agent_network::files::LineError),
    /// A file of the sandbox was not given its label.
    #[error(transparent)]
    Label(#[from] agent_selinux::RelabelError),
    /// A file of the sandbox was not written.
    #[error("{} could not be written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The agent is going down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for StepError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Save(source) => source.kind(),
            Self::Cgroup(source) => source.kind(),
            Self::Limits(source) => source.kind(),
            Self::Seccomp(source) => source.kind(),
            Self::Reserve(source) => source.kind(),
            Self::Attach(source) => source.kind(),
            Self::Plan(source) => source.kind(),
            Self::Plugins(source) => source.kind(),
            Self::Bandwidth(source) => source.kind(),
            Self::Launch(source) => source.kind(),
            Self::Label(source) => source.kind(),
            Self::Line(_) => ErrorKind::InvalidArgument,
            Self::File { source, .. } => agent_types::error::kind_of_io(source),
            Self::Interrupted(source) => source.kind(),
        }
    }
}

/// A part of a sandbox that could not be ended; the others were.
#[derive(Debug, thiserror::Error)]
pub enum TeardownError {
    /// The shim did not end its containers.
    #[error("shim of sandbox {id} did not end its containers")]
    Shim {
        /// The sandbox.
        id: SandboxId,
        /// What it said.
        source: agent_shim_client::RequestError,
    },
    /// The shim does not answer.
    #[error("shim of sandbox {id} does not answer")]
    Connect {
        /// The sandbox.
        id: SandboxId,
        /// Why.
        source: agent_shim_client::ConnectError,
    },
    /// The network was not given back.
    #[error("network of sandbox {id} was not given back")]
    Network {
        /// The sandbox.
        id: SandboxId,
        /// Why.
        source: agent_network::TeardownErrors,
    },
    /// Plugins did not take the network back.
    #[error("network of sandbox {id} was not given back")]
    Plugins {
        /// The sandbox.
        id: SandboxId,
        /// Why.
        source: agent_cni::DetachErrors,
    },
    /// A cgroup is still there.
    #[error("cgroup of sandbox {id} was not removed")]
    Cgroup {
        /// The sandbox.
        id: SandboxId,
        /// Why.
        source: agent_cgroup::RemoveError,
    },
    /// A file is still there.
    #[error("{} was not removed", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The state was not written.
    #[error("state of sandbox {id} was not saved")]
    Save {
        /// The sandbox.
        id: SandboxId,
        /// Why.
        source: agent_store::SaveError,
    },
    /// An earlier attempt failed; what is left is in the ledger.
    #[error("parts of sandbox {id} are still there; stop it again")]
    Incomplete {
        /// The sandbox.
        id: SandboxId,
    },
    /// The agent is going down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for TeardownError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Shim { source, .. } => source.kind(),
            Self::Connect { source, .. } => source.kind(),
            Self::Network { source, .. } => source.kind(),
            Self::Plugins { source, .. } => source.kind(),
            Self::Cgroup { source, .. } => source.kind(),
            Self::File { source, .. } => agent_types::error::kind_of_io(source),
            Self::Save { source, .. } => source.kind(),
            Self::Incomplete { .. } => ErrorKind::Unavailable,
            Self::Interrupted(source) => source.kind(),
        }
    }
}

/// Why a sandbox could not be stopped or removed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EndError {
    /// There is no such sandbox.
    #[error("sandbox {id} does not exist")]
    NotFound {
        /// As the caller named it.
        id: String,
    },
    /// The prefix fits more than one.
    #[error("sandbox {id} is not the only one whose id begins so")]
    Ambiguous {
        /// As the caller named it.
        id: String,
    },
    /// Something of it could not be ended.
    #[error("sandbox {id} was not ended in full")]
    Teardown {
        /// The sandbox.
        id: SandboxId,
        /// The first part that failed; all are in the log.
        source: Arc<TeardownError>,
    },
    /// A container of it could not be removed.
    #[error("container of sandbox {id} was not removed")]
    Container {
        /// The sandbox.
        id: SandboxId,
        /// Why.
        source: Arc<crate::container::RemoveError>,
    },
    /// The agent is going down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for EndError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. } => ErrorKind::InvalidArgument,
            Self::Teardown { source, .. } => source.kind(),
            Self::Container { source, .. } => source.kind(),
            Self::Interrupted(source) => source.kind(),
        }
    }
}
