//! A moment in a container's namespaces, for a fork: the child lives there from its birth.
//!
//! It sees a container's root, network and processes, and none of the host's, whoever looks at it from its first instruction on.
//! Its memory and descriptors are still the caller's, which [`Onlookers`](crate::Onlookers) must not be able to read.

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_sys::process::{Fork, ForkError, Forked, fork, leave};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use rustix::thread::{
    ThreadNameSpaceType as Namespace, move_into_link_name_space, move_into_thread_name_spaces,
};

use crate::failure::{Failure, FailureKind};
use crate::maker;

/// What others could see of a process through its files in procfs, and its processes. It joins the rest by itself.
const VISITED: Namespace = Namespace::MOUNT
    .union(Namespace::NETWORK)
    .union(Namespace::PROCESS_ID);

/// How a caller that cannot go home ends.
const STRANDED: i32 = 1;

/// The caller's own namespaces, to go back to. Opened once, when first needed.
#[derive(Debug, Default)]
pub struct Home(OnceCell<Namespaces>);

#[derive(Debug)]
struct Namespaces {
    /// The caller: its PID namespace is the one that it was born in, wherever its children are born.
    caller: OwnedFd,
    mount: OwnedFd,
    network: OwnedFd,
    /// Joining a mount namespace leads to the topmost of the mounts on its root, which need not be where the caller was.
    root: OwnedFd,
    directory: OwnedFd,
}

/// Why nothing was forked. The caller is at home.
#[derive(Debug)]
pub(crate) enum VisitError {
    /// There is no way there, or none back.
    Way(Failure),
    /// The kernel made no process.
    Fork(ForkError),
}

impl Home {
    /// Forks a process that is born in the namespaces of `container`, a pidfd; both return.
    ///
    /// A caller that cannot come back ends at once: its paths would lead into the container from then on.
    pub(crate) fn fork_away(
        &self,
        container: BorrowedFd<'_>,
        options: &Fork<'_>,
    ) -> Result<Forked, VisitError> {
        let home = self.namespaces().map_err(VisitError::Way)?;
        join(container, VISITED).map_err(VisitError::Way)?;
        let forked = fork(options);
        if matches!(forked, Ok(Forked::Child)) {
            return Ok(Forked::Child);
        }
        if home.enter().is_err() {
            if let Ok(Forked::Parent(child)) = &forked {
                maker::kill(&child.pidfd);
            }
            leave(STRANDED)
        }
        forked.map_err(VisitError::Fork)
    }

    fn namespaces(&self) -> Result<&Namespaces, Failure> {
        if let Some(known) = self.0.get() {
            return Ok(known);
        }
        let opened = Namespaces::open()
            .map_err(|error| Failure::io("open", "the caller's namespaces", error))?;
        Ok(self.0.get_or_init(|| opened))
    }
}

impl Namespaces {
    fn open() -> Result<Self, Errno> {
        let open = |path: &str, flags: OFlags| {
            rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
        };
        let place = OFlags::PATH | OFlags::DIRECTORY;
        Ok(Self {
            caller: pidfd_open(getpid(), PidfdFlags::empty())?,
            mount: open("/proc/self/ns/mnt", OFlags::RDONLY)?,
            network: open("/proc/self/ns/net", OFlags::RDONLY)?,
            root: open("/", place)?,
            directory: open(".", place)?,
        })
    }

    fn enter(&self) -> Result<(), Errno> {
        move_into_thread_name_spaces(self.caller.as_fd(), Namespace::PROCESS_ID)?;
        move_into_link_name_space(self.network.as_fd(), None)?;
        self.enter_mounts()
    }

    fn enter_mounts(&self) -> Result<(), Errno> {
        move_into_link_name_space(self.mount.as_fd(), None)?;
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(".")?;
        rustix::process::fchdir(&self.directory)
    }
}

/// Runs `work` in the mount namespace of `container`, a pidfd, for a process that has a mount namespace of its own to return to.
pub(crate) fn in_mounts_of<T>(
    container: BorrowedFd<'_>,
    work: impl FnOnce() -> T,
) -> Result<T, Failure> {
    let way = |error| Failure::io("return from", "another container's mounts", error);
    let home = Namespaces::open().map_err(way)?;
    join(container, Namespace::MOUNT)?;
    let done = work();
    home.enter_mounts().map_err(way)?;
    Ok(done)
}

/// Joins namespaces of the process behind a pidfd: all of them, or none. Of a PID namespace only children become members.
pub(crate) fn join(container: BorrowedFd<'_>, namespaces: Namespace) -> Result<(), Failure> {
    move_into_thread_name_spaces(container, namespaces).map_err(|error| {
        let failure = Failure::io("join", "the container's namespaces", error);
        match error {
            Errno::SRCH => failure.of_kind(FailureKind::NotRunning),
            _ => failure,
        }
    })
}
