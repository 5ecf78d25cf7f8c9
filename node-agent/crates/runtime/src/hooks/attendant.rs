//! Helpers of a caller that waits for nothing: a process that runs hooks and tells how that went.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use agent_sys::process::{Child, Fork, Forked, Relation, fork, leave};
use agent_types::HookStage;
use agent_types::time::nanoseconds;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::UnshareFlags;

use super::hooked::{Hooked, MARGIN};
use crate::channel::{self, ChannelError, ChildEnd, MakerEnd, Report};
use crate::failure::Failure;
use crate::gate;
use crate::maker;

/// A helper at work. It ends with what it has to tell, and by itself.
#[derive(Debug)]
pub(crate) struct Attendant {
    end: MakerEnd,
    child: Child,
    late: bool,
}

/// What a helper has told.
#[derive(Debug)]
pub(crate) struct Told {
    /// What went wrong and changed nothing.
    pub(crate) warnings: Vec<Failure>,
    /// What it did all in all; since when a program runs, where it has started one.
    pub(crate) outcome: Result<i64, Failure>,
}

impl Attendant {
    /// Forks a helper that does `work`.
    pub(crate) fn begin(work: impl FnOnce(&ChildEnd)) -> Result<Self, Failure> {
        let failed = |errno| {
            let error = std::io::Error::from_raw_os_error(errno);
            Failure::io("make", "a process that runs hooks", error)
        };
        let (end, child_end) = channel::open().map_err(|error| failed(error.errno()))?;
        let options = Fork {
            new: UnshareFlags::empty(),
            cgroup: None,
            relation: Relation::Child,
        };
        match fork(&options).map_err(|error| failed(error.errno()))? {
            Forked::Child => {
                drop(end);
                work(&child_end);
                leave(0)
            }
            Forked::Parent(child) => Ok(Self {
                end,
                child,
                late: false,
            }),
        }
    }

    /// Returns what becomes readable when the helper tells how it went.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// Ends a helper that takes too long, and the hook that it runs.
    pub(crate) fn kill(&mut self) {
        self.late = true;
        maker::kill(&self.child.pidfd);
    }

    /// Hears what the helper has to tell; it is gone afterwards.
    pub(crate) fn hear(self) -> Told {
        let mut warnings = Vec::new();
        let error = loop {
            match self.end.receive() {
                Ok(Some(Report::Warned(failure))) => warnings.push(failure),
                Ok(Some(Report::Done(time))) => break Ok(time),
                Ok(Some(Report::Failed(failure))) => break Err(failure),
                Ok(None) if self.late => break Err(lost(&ChannelError::Silent)),
                Ok(None) => break Err(lost(&ChannelError::Closed)),
                Ok(Some(_)) => break Err(lost(&ChannelError::Malformed)),
                Err(error) => break Err(lost(&error)),
            }
        };
        maker::kill(&self.child.pidfd);
        maker::reap(&self.child.pidfd);
        Told {
            warnings,
            outcome: error,
        }
    }
}

fn lost(error: &ChannelError) -> Failure {
    Failure::of("follow", "the process that runs hooks", error)
}

/// Opens the gate of a container with hooks, in a helper.
pub(crate) fn start(
    (end, pid, pidfd): (MakerEnd, i32, OwnedFd),
    hooked: &Hooked,
) -> Result<Attendant, Failure> {
    let patience = MARGIN + hooked.patience(&[HookStage::StartContainer]);
    Attendant::begin(|report| {
        let started = match gate::open(&end, &pidfd, patience) {
            Ok(started) => started,
            Err(error) => {
                report.failed(&error.into_failure());
                return;
            }
        };
        // One that was killed meanwhile looks like one that runs.
        let warnings = match is_alive(&pidfd) {
            true => hooked.after_start(pid),
            false => Vec::new(),
        };
        tell(report, &warnings, nanoseconds(started));
    })
}

fn is_alive(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let none = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut fds, Some(&none)), Ok(0))
}

/// Tells all at once: whoever waits for a word then hears the last one soon.
fn tell(report: &ChildEnd, warnings: &[Failure], time: i64) {
    for warning in warnings {
        // If nobody listens any more, nobody needs to know.
        let _ = report.warned(warning);
    }
    let _ = report.done(time);
}

/// A container that is gone, and whose last hooks are run.
#[derive(Debug)]
pub struct Ending {
    attendant: Attendant,
    hooked: Arc<Hooked>,
}

impl Hooked {
    /// Has run what is to be run when the container is gone; `None`: there is nothing.
    ///
    /// # Errors
    /// Says why that could not even begin. What the hooks were given to read is gone all the same.
    pub fn end(self: &Arc<Self>) -> Result<Option<Ending>, Failure> {
        if !self.has(HookStage::Poststop) {
            self.remove_bundle();
            return Ok(None);
        }
        let begun = Attendant::begin(|report| tell(report, &self.after_end(), 0));
        let attendant = begun.inspect_err(|_| self.remove_bundle())?;
        Ok(Some(Ending {
            attendant,
            hooked: Arc::clone(self),
        }))
    }
}

impl Ending {
    /// Returns what becomes readable when the hooks have ended.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.attendant.fd()
    }

    /// Ends hooks that take longer than [`Ending::patience`].
    pub fn kill(&mut self) {
        self.attendant.kill();
    }

    /// Returns how long it may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        MARGIN + self.hooked.patience(&[HookStage::Poststop])
    }

    /// Returns what went wrong; the hooks have ended.
    #[must_use]
    pub fn finish(self) -> Vec<Failure> {
        let Told {
            mut warnings,
            outcome,
        } = self.attendant.hear();
        self.hooked.remove_bundle();
        warnings.extend(outcome.err());
        warnings
    }
}
