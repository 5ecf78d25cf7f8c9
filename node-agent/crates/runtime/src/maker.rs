//! The maker's side of a process under construction: follow it, and leave nothing behind when it fails.

use std::os::fd::{AsFd, OwnedFd};

use agent_sys::process::Child;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::channel::{ChannelError, MakerEnd, Report};
use crate::failure::Failure;
use crate::request::ResolvedUser;
use crate::times::Times;

/// Why no report came.
#[derive(Debug)]
pub(crate) enum Mishap {
    /// The line broke.
    Channel(ChannelError),
    /// A step failed.
    Step(Failure),
}

/// Who will execute the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Birth {
    /// The process just forked.
    Direct,
    /// The process just forked, which is in the container's namespaces already.
    Inside,
    /// A sibling that the process just forked makes in another PID namespace.
    Sibling,
    /// A sibling that the process just forked makes before anything else, the first of a PID namespace.
    First,
}

/// A process ready to execute its program.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// A terminal, or whatever else was sent beside.
    pub(crate) extra: Option<OwnedFd>,
    pub(crate) user: ResolvedUser,
    pub(crate) times: Times,
}

/// Waits for the report of `child`; a helper, or a child that failed, is gone afterwards.
pub(crate) fn follow(child: Child, end: &MakerEnd, birth: Birth) -> Result<Prepared, Mishap> {
    let child = match birth {
        Birth::First => first(child, end)?,
        Birth::Direct | Birth::Inside | Birth::Sibling => child,
    };
    ready(child, end, birth)
}

/// Does the same for a container with hooks, which `run` has run when its mounts stand.
pub(crate) fn follow_with_hooks(
    child: Child,
    end: &MakerEnd,
    birth: Birth,
    run: impl FnOnce(&Child) -> Result<(), Failure>,
) -> Result<Prepared, Mishap> {
    match end.receive() {
        Ok(Some(Report::Standing)) => {}
        Ok(Some(Report::Failed(failure))) => {
            end_of(&child);
            return Err(Mishap::Step(failure));
        }
        other => return Err(lost(&child, other)),
    }
    if let Err(failure) = run(&child) {
        kill(&child.pidfd);
        end_of(&child);
        return Err(Mishap::Step(failure));
    }
    if let Err(error) = end.release() {
        kill(&child.pidfd);
        end_of(&child);
        return Err(Mishap::Channel(error));
    }
    ready(child, end, birth)
}

/// Waits until a program only needs to be let run.
fn ready(child: Child, end: &MakerEnd, birth: Birth) -> Result<Prepared, Mishap> {
    match end.receive() {
        Ok(Some(Report::Ready {
            user,
            times,
            pid,
            fds,
        })) => {
            let mut fds = fds.into_iter();
            if birth != Birth::Sibling {
                let Child { pid, pidfd } = child;
                return Ok(Prepared {
                    pid,
                    pidfd,
                    extra: fds.next(),
                    user,
                    times,
                });
            }
            end_of(&child);
            let pidfd = fds.next().ok_or(Mishap::Channel(ChannelError::Malformed))?;
            Ok(Prepared {
                pid,
                pidfd,
                extra: fds.next(),
                user,
                times,
            })
        }
        Ok(Some(Report::Failed(failure))) => {
            end_of(&child);
            Err(Mishap::Step(failure))
        }
        other => Err(lost(&child, other)),
    }
}

/// Waits until `child` has made the process that does the rest; it is gone afterwards.
fn first(child: Child, end: &MakerEnd) -> Result<Child, Mishap> {
    match end.receive() {
        Ok(Some(Report::Born { pid, pidfd })) => {
            end_of(&child);
            Ok(Child { pid, pidfd })
        }
        Ok(Some(Report::Failed(failure))) => {
            end_of(&child);
            Err(Mishap::Step(failure))
        }
        other => Err(lost(&child, other)),
    }
}

/// Ends a process that said nothing that can be used.
fn lost(child: &Child, said: Result<Option<Report>, ChannelError>) -> Mishap {
    let error = match said {
        Ok(None) => ChannelError::Closed,
        Ok(Some(_)) => ChannelError::Malformed,
        Err(error) => error,
    };
    kill(&child.pidfd);
    end_of(child);
    Mishap::Channel(error)
}

/// Waits until a child has ended, and forgets it.
fn end_of(child: &Child) {
    reap(&child.pidfd);
}

/// Waits for the end of the process behind a pidfd of ours.
pub(crate) fn reap(pidfd: &OwnedFd) {
    while let Err(rustix::io::Errno::INTR) =
        waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
    {}
}

/// Kills the process behind a pidfd; one that has ended stays so.
pub(crate) fn kill(pidfd: &OwnedFd) {
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
}
