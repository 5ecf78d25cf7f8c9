//! What a created container waits for.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_types::HookStage;

use crate::channel::{ChannelError, MakerEnd, PATIENCE, Report};
use crate::error::StartError;
use crate::external::External;
use crate::hooks::{self, Hooked};
use crate::maker;
use crate::starting::Starting;

/// The gate before a container's program. Dropped unopened, it lets a waiting process end.
#[derive(Debug)]
pub struct StartGate(Kind);

#[derive(Debug)]
enum Kind {
    /// A process of ours waits for a word.
    Waiting { end: MakerEnd, pidfd: OwnedFd },
    /// The same, and hooks are to be run before its program or after.
    Hooked {
        end: MakerEnd,
        pid: i32,
        pidfd: OwnedFd,
        hooked: Arc<Hooked>,
    },
    /// Another runtime knows how to start it.
    External(Arc<External>),
}

/// What a gate that was opened has let through.
#[derive(Debug)]
pub enum Opened {
    /// The program was executed, at this time.
    Running(SystemTime),
    /// Somebody else sees to that, and is to be followed.
    Starting(Starting),
}

impl StartGate {
    pub(crate) const fn new(end: MakerEnd, pidfd: OwnedFd) -> Self {
        Self(Kind::Waiting { end, pidfd })
    }

    pub(crate) fn with_hooks(
        (end, pid, pidfd): (MakerEnd, i32, OwnedFd),
        hooked: Arc<Hooked>,
    ) -> Self {
        let stages = [HookStage::StartContainer, HookStage::Poststart];
        if stages.iter().any(|stage| hooked.has(*stage)) {
            return Self(Kind::Hooked {
                end,
                pid,
                pidfd,
                hooked,
            });
        }
        Self::new(end, pidfd)
    }

    pub(crate) const fn of_external(external: Arc<External>) -> Self {
        Self(Kind::External(external))
    }

    /// Returns what the waiting process is told by, where it is one of ours.
    pub(crate) fn end(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Kind::Waiting { end, .. } | Kind::Hooked { end, .. } => Some(end.as_fd()),
            Kind::External(_) => None,
        }
    }

    /// Opens the gate; returns when the program has been executed, or somebody else is about to see
    /// to that.
    ///
    /// # Errors
    /// Says why the program does not run. The process has then ended, or is to be killed, and is to be waited for as after any exit.
    pub fn start(self) -> Result<Opened, StartError> {
        match self.0 {
            Kind::Waiting { end, pidfd } => open(&end, &pidfd, PATIENCE).map(Opened::Running),
            Kind::External(external) => external.start().map(Opened::Starting),
            Kind::Hooked {
                end,
                pid,
                pidfd,
                hooked,
            } => {
                let begun = hooks::start((end, pid, pidfd), &hooked);
                let attendant = begun.map_err(StartError::Step)?;
                let patience = hooked.patience_of_start();
                Ok(Opened::Starting(Starting::by_attendant(
                    attendant, patience,
                )))
            }
        }
    }
}

/// Lets the waiting process go on, and waits for its program; returns since when it runs.
pub(crate) fn open(
    end: &MakerEnd,
    pidfd: &OwnedFd,
    patience: Duration,
) -> Result<SystemTime, StartError> {
    let give_up = |error| {
        maker::kill(pidfd);
        StartError::Channel(error)
    };
    end.release().map_err(StartError::Channel)?;
    let started = SystemTime::now();
    match end.receive_within(patience) {
        // The channel closes at `execve`.
        Ok(None) => Ok(started),
        Ok(Some(Report::Failed(failure))) => Err(StartError::Step(failure)),
        Ok(Some(_)) => Err(give_up(ChannelError::Malformed)),
        Err(error) => Err(give_up(error)),
    }
}
