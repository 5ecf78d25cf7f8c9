//! Who may use a parent: one agent at a time.

use std::os::fd::OwnedFd;

use agent_types::{Classify, ErrorKind};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::CgroupPath;
use crate::error::CreateError;
use crate::systemd::Hold;
use crate::tree::CgroupTree;

/// Why an agent may not use its parent.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another agent that runs uses it.
    #[error("cgroup parent {parent} is used by another agent")]
    Taken {
        /// The parent.
        parent: CgroupPath,
    },
    /// It could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// Its lock could not be taken.
    #[error("cgroup parent {parent} could not be locked")]
    Lock {
        /// The parent.
        parent: CgroupPath,
        /// What the kernel said.
        source: Errno,
    },
}

impl Classify for ClaimError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Taken { .. } => ErrorKind::FailedPrecondition,
            Self::Create(source) => source.kind(),
            Self::Lock { .. } => ErrorKind::Internal,
        }
    }
}

/// The parent is ours until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Claim {
    _lock: OwnedFd,
    /// Keeps the launcher's scope where systemd made it.
    _hold: Option<Hold>,
}

impl CgroupTree {
    /// Takes the parent for this process. What two agents made below one parent, each would take
    /// for strays of its own.
    ///
    /// # Errors
    /// Another agent has it, or it could not be made.
    pub fn claim(&self) -> Result<Claim, ClaimError> {
        // The launcher's directory is there as long as anybody uses the parent.
        let shims = self.create_shims()?;
        crate::disks::count(self.inner(), self.parent());
        let parent = self.parent().clone();
        // A scope is made anew when it was empty; a slice stays.
        let path = match self.is_systemd() {
            true => parent.clone(),
            false => self.shims().map_err(CreateError::from)?,
        };
        let failed = |source| ClaimError::Lock {
            parent: parent.clone(),
            source,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = self.hierarchies()[0].absolute(&path);
        let lock = rustix::fs::open(directory, flags, Mode::empty()).map_err(failed)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Claim {
                _lock: lock,
                _hold: shims.hold,
            }),
            Err(Errno::WOULDBLOCK) => Err(ClaimError::Taken {
                parent: parent.clone(),
            }),
            Err(source) => Err(failed(source)),
        }
    }
}
