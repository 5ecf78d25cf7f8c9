//! Who tells of the OOM killer when a container's cgroup is gone before it could be asked.
//!
//! A scope of systemd's is taken away as soon as its last process has ended: by the time its end
//! is heard of here, the count of kills may have gone with it. Nobody else takes a cgroup away
//! before this process lets go of it.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use agent_sys::oom::OomCalls;
use rustix::fs::{Mode, OFlags};

use crate::cgroup::{Version, kills};

/// What is left of a scope that has gone.
#[derive(Debug)]
pub(crate) enum Witness {
    /// On v2: the cgroup above, which counts the kills of all that is in it.
    Above {
        directory: OwnedFd,
        /// Kills counted before the container was.
        before: u64,
    },
    /// On v1, where a cgroup counts its own alone: the calls of the OOM killer as they came.
    Calls(OomCalls),
}

impl Witness {
    /// Returns that of a scope; none for any other cgroup.
    pub(crate) fn of_scope(version: Version, own: &OwnedFd) -> Option<Self> {
        let link = format!("/proc/self/fd/{}", own.as_raw_fd());
        let path = rustix::fs::readlink(link, Vec::new()).ok()?;
        if !path.to_bytes().ends_with(b".scope") {
            return None;
        }
        match version {
            // Kernels can be built without; then the cgroup is asked alone.
            Version::V1 { .. } => OomCalls::of(own.as_fd()).ok().map(Self::Calls),
            Version::V2 => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let directory = rustix::fs::openat(own, "..", flags, Mode::empty()).ok()?;
                let before = count(directory.as_fd());
                Some(Self::Above { directory, before })
            }
        }
    }

    /// Returns whether the OOM killer struck since [`Witness::forget`].
    pub(crate) fn struck(&self) -> bool {
        match self {
            Self::Above { directory, before } => count(directory.as_fd()) > *before,
            // Read at once when the process has ended: its cgroup's own end is told some
            // milliseconds after that.
            Self::Calls(calls) => calls.take() > 0,
        }
    }

    /// Forgets what was so far: it has been told of another container.
    pub(crate) fn forget(&mut self) {
        match self {
            Self::Above { directory, before } => *before = count(directory.as_fd()),
            Self::Calls(calls) => drop(calls.take()),
        }
    }
}

fn count(directory: BorrowedFd<'_>) -> u64 {
    kills(Version::V2, directory).unwrap_or(0)
}
