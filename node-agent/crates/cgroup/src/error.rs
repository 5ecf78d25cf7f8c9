//! Why an operation on a cgroup failed.

use agent_types::{Classify, ErrorKind};
use rustix::io::Errno;

use crate::{CgroupPath, LimitError, PathError, SystemdError};

/// Why the cgroup tree of the machine cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither cgroup v2 at the usual place nor any v1 hierarchy is mounted.
    #[error("no cgroup hierarchy is mounted")]
    NoHierarchy,
    /// The list of controllers could not be read.
    #[error("the kernel's list of cgroup controllers could not be read")]
    Controllers {
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A mount point could not be opened.
    #[error("cgroup mount {mount_point} could not be opened")]
    Mount {
        /// Where it is mounted.
        mount_point: String,
        /// What the kernel said.
        source: Errno,
    },
}

impl Classify for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoHierarchy => ErrorKind::FailedPrecondition,
            Self::Controllers { .. } | Self::Mount { .. } => ErrorKind::Internal,
        }
    }
}

/// Why a cgroup could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The limits cannot hold.
    #[error("limits of cgroup {path} were refused")]
    Limit {
        /// The cgroup.
        path: CgroupPath,
        /// Which limit, and why.
        source: LimitError,
    },
    /// The path derived from the parent is not one.
    #[error("cgroup could not be named")]
    Path {
        /// What is wrong with it.
        #[from]
        source: PathError,
    },
    /// It exists, and is not empty.
    #[error("cgroup {path} exists")]
    Exists {
        /// The cgroup.
        path: CgroupPath,
    },
    /// systemd did not make it.
    #[error("cgroup {path} was not made by systemd")]
    Systemd {
        /// The cgroup.
        path: CgroupPath,
        /// Why.
        source: SystemdError,
    },
    /// A directory could not be made.
    #[error("directory of cgroup {path} could not be made in hierarchy {hierarchy}")]
    Directory {
        /// The cgroup.
        path: CgroupPath,
        /// First controller of the hierarchy.
        hierarchy: String,
        /// What the kernel said.
        source: Errno,
    },
    /// A value that every cgroup needs could not be written.
    #[error("file {file} of cgroup {path} could not be set up")]
    File {
        /// The cgroup.
        path: CgroupPath,
        /// The interface file.
        file: &'static str,
        /// What the kernel said.
        source: Errno,
    },
    /// The kernel refused a limit.
    #[error("limits of cgroup {path} could not be set")]
    Apply {
        /// The cgroup.
        path: CgroupPath,
        /// Which limit.
        source: Box<UpdateError>,
    },
    /// The kernel refused the device rules.
    #[error("device rules of cgroup {path} could not be set")]
    Devices {
        /// The cgroup.
        path: CgroupPath,
        /// What the kernel said.
        source: Errno,
    },
}

impl Classify for CreateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Limit { source, .. } => source.kind(),
            Self::Path { source } => source.kind(),
            Self::Exists { .. } => ErrorKind::AlreadyExists,
            Self::Apply { source, .. } => source.kind(),
            Self::Systemd { source, .. } => source.kind(),
            Self::Directory { source, .. }
            | Self::File { source, .. }
            | Self::Devices { source, .. } => kind_of(*source),
        }
    }
}

/// Why limits could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The limits cannot hold.
    #[error("limit was refused")]
    Limit {
        /// Which limit, and why.
        #[from]
        source: LimitError,
    },
    /// The cgroup's present limits could not be read.
    #[error("present limits could not be read")]
    Read {
        /// Which file.
        #[from]
        source: CgroupError,
    },
    /// systemd did not take them.
    #[error("limits of cgroup {path} were not taken by systemd")]
    Systemd {
        /// The cgroup.
        path: CgroupPath,
        /// Why.
        source: SystemdError,
    },
    /// The kernel refused a value, through a controller of `cgroups-rs`.
    #[error("{field} of cgroup {path} could not be set to {value}")]
    Controller {
        /// The field of [`crate::Limits`].
        field: &'static str,
        /// The value it should get.
        value: String,
        /// The cgroup.
        path: CgroupPath,
        /// What went wrong.
        source: Box<cgroups_rs::fs::error::Error>,
    },
    /// The kernel refused a value.
    #[error("{field} of cgroup {path} could not be set to {value}")]
    File {
        /// The field of [`crate::Limits`].
        field: &'static str,
        /// The value it should get.
        value: String,
        /// The cgroup.
        path: CgroupPath,
        /// What the kernel said.
        source: Errno,
    },
}

impl Classify for UpdateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Limit { source } => source.kind(),
            Self::Read { source } => source.kind(),
            Self::Systemd { source, .. } => source.kind(),
            Self::File { source, .. } => kind_of(*source),
            Self::Controller { source, .. } => std::error::Error::source(source.as_ref())
                .and_then(|cause| cause.downcast_ref::<std::io::Error>())
                .and_then(Errno::from_io_error)
                .map_or(ErrorKind::Internal, kind_of),
        }
    }
}

/// Why a cgroup could not be read, frozen or killed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// It is gone, or never was.
    #[error("cgroup {path} does not exist")]
    NotFound {
        /// The cgroup.
        path: CgroupPath,
    },
    /// A file could not be read.
    #[error("{file} of cgroup {path} could not be read")]
    Read {
        /// The cgroup.
        path: CgroupPath,
        /// The interface file.
        file: &'static str,
        /// What the kernel said.
        source: Errno,
    },
    /// A file could not be written.
    #[error("{file} of cgroup {path} could not be written")]
    Write {
        /// The cgroup.
        path: CgroupPath,
        /// The interface file.
        file: &'static str,
        /// What the kernel said.
        source: Errno,
    },
    /// A process could not be killed.
    #[error("process {pid} of cgroup {path} could not be killed")]
    Signal {
        /// The cgroup.
        path: CgroupPath,
        /// The process.
        pid: u32,
        /// What the kernel said.
        source: Errno,
    },
    /// It did not freeze in time.
    #[error("cgroup {path} did not freeze in time")]
    NotFrozen {
        /// The cgroup.
        path: CgroupPath,
    },
    /// The machine has no freezer hierarchy.
    #[error("cgroup {path} cannot be frozen: no freezer is mounted")]
    NoFreezer {
        /// The cgroup.
        path: CgroupPath,
    },
}

impl Classify for CgroupError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Signal { source, .. } => kind_of(*source),
            Self::NotFrozen { .. } => ErrorKind::Unavailable,
            Self::NoFreezer { .. } => ErrorKind::FailedPrecondition,
        }
    }
}

/// Why a cgroup could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// A directory refused, though nothing kept it busy.
    #[error("directory of cgroup {path} could not be removed from hierarchy {hierarchy}")]
    Directory {
        /// The cgroup.
        path: CgroupPath,
        /// First controller of the hierarchy.
        hierarchy: String,
        /// What the kernel said.
        source: Errno,
    },
    /// Processes in it did not end in time.
    #[error("cgroup {path} is still busy in hierarchy {hierarchy} after its processes were killed")]
    Busy {
        /// The cgroup.
        path: CgroupPath,
        /// First controller of the hierarchy.
        hierarchy: String,
    },
    /// Its processes could not be killed.
    #[error("processes of cgroup {path} could not be killed")]
    Kill {
        /// The cgroup.
        path: CgroupPath,
        /// What went wrong.
        source: CgroupError,
    },
}

impl Classify for RemoveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Directory { source, .. } => kind_of(*source),
            Self::Busy { .. } => ErrorKind::Unavailable,
            Self::Kill { source, .. } => source.kind(),
        }
    }
}

/// Says what a caller can do about what the kernel answered to a write into a cgroup.
fn kind_of(errno: Errno) -> ErrorKind {
    match errno {
        Errno::INVAL | Errno::RANGE => ErrorKind::InvalidArgument,
        Errno::BUSY => ErrorKind::FailedPrecondition,
        Errno::NOENT | Errno::NODEV => ErrorKind::NotFound,
        Errno::NOSPC | Errno::NOMEM | Errno::AGAIN | Errno::MFILE | Errno::NFILE => {
            ErrorKind::ResourceExhausted
        }
        _ => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_the_kernel_refuses_is_the_callers_fault() {
        let path: CgroupPath = "/a".parse().unwrap();
        let refused = UpdateError::File {
            field: "pids",
            value: "x".into(),
            path: path.clone(),
            source: Errno::INVAL,
        };
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
        let wrapped = CreateError::Apply {
            path,
            source: Box::new(refused),
        };
        assert_eq!(wrapped.kind(), ErrorKind::InvalidArgument);
        assert_eq!(wrapped.to_string(), "limits of cgroup /a could not be set");
    }
}
