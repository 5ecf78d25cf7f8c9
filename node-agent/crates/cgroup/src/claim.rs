//! Who may use a parent: one agent at a time.

use std::os::fd::OwnedFd;

use agent_types::{Classify, ErrorKind};
use rustix::fs::{AtFlags, FlockOperation};
use rustix::io::Errno;

use crate::error::{CreateError, RemoveError};
use crate::systemd::Hold;
use crate::tree::CgroupTree;
use crate::{CgroupPath, OwnCgroup};

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

/// Why a cgroup that nobody owns was not removed.
#[derive(Debug, thiserror::Error)]
pub enum StrayError {
    /// What lies below the parent may be another agent's.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The kernel refused.
    #[error(transparent)]
    Remove(#[from] RemoveError),
}

impl Classify for StrayError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Claim(source) => source.kind(),
            Self::Remove(source) => source.kind(),
        }
    }
}

/// How often a directory that is taken away while it is being locked is made again.
const ATTEMPTS: usize = 4;

/// What makes the parent ours.
#[derive(Debug)]
pub(crate) struct Held {
    lock: OwnedFd,
    /// Keeps the launcher's scope where systemd made it.
    _hold: Option<Hold>,
}

/// The parent is ours until this is dropped or the process ends, however it ends.
#[derive(Debug)]
#[must_use = "the parent is anybody's when this is dropped"]
pub struct Claim(CgroupTree);

impl Drop for Claim {
    fn drop(&mut self) {
        *self.0.inner().held() = None;
    }
}

impl CgroupTree {
    /// Takes the parent for this process. What two agents made below one parent, each would take
    /// for strays of its own.
    ///
    /// # Errors
    /// Another agent has it, or it could not be made.
    pub fn claim(&self) -> Result<Claim, ClaimError> {
        self.renew_claim()?;
        Ok(Claim(self.clone()))
    }

    /// Takes the parent again where somebody has taken its directory away since: another one at
    /// its place may be another agent's, whatever lock is held on the first.
    ///
    /// # Errors
    /// Another agent has it by now, or it could not be made.
    pub fn renew_claim(&self) -> Result<(), ClaimError> {
        let mut held = self.inner().held();
        if let Some(held) = held.as_ref() {
            if self.is_in_place(&held.lock)? {
                return Ok(());
            }
            tracing::warn!(parent = %self.parent(), "cgroup parent was removed by others and is taken again");
        }
        *held = None;
        *held = Some(self.take()?);
        Ok(())
    }

    /// Removes a cgroup that nobody owns, with what is below it; returns whether it is gone now.
    /// One with processes stays, and nothing is touched where the parent is not ours any more.
    ///
    /// # Errors
    /// Another agent has the parent by now, or the kernel refused.
    pub fn remove_stray(&self, stray: &OwnCgroup) -> Result<bool, StrayError> {
        self.renew_claim()?;
        // What cannot be opened or read is going already.
        let Ok(Some(cgroup)) = self.open_cgroup(&stray.path) else {
            return Ok(false);
        };
        if !cgroup.processes().is_ok_and(|inside| inside.is_empty()) {
            return Ok(false);
        }
        cgroup.remove()?;
        Ok(true)
    }

    fn take(&self) -> Result<Held, ClaimError> {
        let parent = || self.parent().clone();
        for _ in 0..ATTEMPTS {
            // The launcher's directory is there as long as anybody uses the parent.
            let shims = self.create_shims()?;
            crate::disks::count(self.inner(), self.parent());
            let failed = |source| ClaimError::Lock {
                parent: parent(),
                source,
            };
            let directory = self.hierarchies()[0].directory(&self.locked_path()?);
            let lock = match directory {
                Err(Errno::NOENT) => continue,
                lock => lock.map_err(failed)?,
            };
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(ClaimError::Taken { parent: parent() }),
                Err(source) => return Err(failed(source)),
            }
            // An agent that was just ending may have taken it along.
            if self.is_in_place(&lock)? {
                return Ok(Held {
                    lock,
                    _hold: shims.hold,
                });
            }
        }
        Err(ClaimError::Lock {
            parent: parent(),
            source: Errno::NOENT,
        })
    }

    /// Returns what is locked: a scope is made anew when it was empty; a slice stays.
    fn locked_path(&self) -> Result<CgroupPath, ClaimError> {
        match self.is_systemd() {
            true => Ok(self.parent().clone()),
            false => Ok(self.shims().map_err(CreateError::from)?),
        }
    }

    /// Says whether this directory is the one that is found at its path.
    fn is_in_place(&self, lock: &OwnedFd) -> Result<bool, ClaimError> {
        let failed = |source| ClaimError::Lock {
            parent: self.parent().clone(),
            source,
        };
        let ours = rustix::fs::fstat(lock).map_err(failed)?;
        let path = self.locked_path()?;
        match rustix::fs::statat(
            self.hierarchies()[0].root(),
            path.relative(),
            AtFlags::empty(),
        ) {
            Ok(there) => Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(source) => Err(failed(source)),
        }
    }
}
