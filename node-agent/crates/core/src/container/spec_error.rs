//! What is refused of a container's specification.

use std::path::PathBuf;

use agent_types::{Classify, ErrorKind};

/// A part of a specification that is refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It cannot become an OCI specification.
    #[error(transparent)]
    Plan(#[from] agent_oci::PlanError),
    /// A limit cannot hold.
    #[error(transparent)]
    Limit(#[from] agent_cgroup::LimitError),
    /// The seccomp profile is not one.
    #[error(transparent)]
    Profile(#[from] agent_seccomp::ProfileError),
    /// The AppArmor profile is not to be had.
    #[error(transparent)]
    Apparmor(#[from] agent_apparmor::ProfileError),
    /// The SELinux label is not to be had.
    #[error(transparent)]
    Selinux(#[from] agent_selinux::LabelError),
    /// A mount source cannot be given the container's.
    #[error(transparent)]
    Relabel(#[from] agent_selinux::RelabelError),
    /// The cgroup path is none.
    #[error(transparent)]
    Cgroup(#[from] agent_cgroup::PathError),
    /// A device rule is none.
    #[error(transparent)]
    DeviceRule(#[from] agent_cgroup::DeviceRuleError),
    /// A device of the Container Device Interface is not to be had.
    #[error(transparent)]
    Cdi(#[from] agent_cdi::ResolveError),
    /// Hooks, in a sandbox with users of its own.
    #[error("CDI devices with hooks cannot be had in a sandbox with a user namespace")]
    HooksAndUsers,
    /// The sandbox's runtime handler is configured no longer.
    #[error("runtime handler {handler:?} is not configured any more")]
    Handler {
        /// The name.
        handler: String,
    },
    /// Privileged, in a sandbox that is not.
    #[error("a privileged container needs a privileged sandbox")]
    Privileged,
    /// In the host's PID namespace, in a sandbox that is not.
    #[error("a container in the host's PID namespace needs a sandbox that is in it")]
    HostPid,
    /// In another namespace of the host's, in a sandbox that is not.
    #[error("a container in the host's {name} namespace needs a sandbox that is in it")]
    HostNamespace {
        /// What the namespace is of.
        name: &'static str,
    },
    /// Other users than its sandbox's.
    #[error("user namespace of the container is not that of its sandbox")]
    UserNamespace,
    /// Other ids than its sandbox's.
    #[error("ids of the mount at {destination} are not those of the sandbox's user namespace")]
    MountIds {
        /// Where it would be mounted.
        destination: String,
    },
    /// The runtime does not say that it can.
    #[error(
        "mount at {destination} is recursively read-only, which runtime handler {handler:?} does not say it can do"
    )]
    RecursiveReadonly {
        /// Where it would be mounted.
        destination: String,
        /// The handler.
        handler: String,
    },
    /// The file system cannot show other owners.
    #[error("owners of mount source {} cannot be shifted for the sandbox's user namespace", path.display())]
    Shift {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// No preference that the OOM killer knows.
    #[error("OOM score adjustment {value} is not between -1000 and 1000")]
    OomScore {
        /// As it was asked for.
        value: i32,
    },
    /// The log path leaves its directory.
    #[error("log path {path:?} is not a clean path below the sandbox's log directory")]
    LogPath {
        /// As it was asked for.
        path: String,
    },
    /// The bind source is not there.
    #[error("mount source {} cannot be used", path.display())]
    MountSource {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Mounts made later could not come out of the container, or into it.
    #[error("mount source {} is not on a {needs} mount, which its propagation needs", path.display())]
    NotPassedOn {
        /// The path.
        path: PathBuf,
        /// "shared", or "shared or slave".
        needs: &'static str,
    },
    /// The device is not there, or is none.
    #[error("device {} cannot be used", path.display())]
    Device {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The stop signal is none.
    #[error("stop signal of the image is not valid")]
    StopSignal {
        /// Why.
        source: agent_oci::PlanError,
    },
}

impl Classify for SpecError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Apparmor(source) => source.kind(),
            Self::Selinux(source) => source.kind(),
            Self::Relabel(source) => source.kind(),
            _ => ErrorKind::InvalidArgument,
        }
    }
}
