//! What a created container waits for.

use std::os::fd::OwnedFd;
use std::time::SystemTime;

use crate::channel::{ChannelError, MakerEnd, Report};
use crate::error::StartError;
use crate::maker;

/// The gate before a container's program. Dropped unopened, it lets the waiting process end.
#[derive(Debug)]
pub struct StartGate {
    end: MakerEnd,
    pidfd: OwnedFd,
}

impl StartGate {
    pub(crate) const fn new(end: MakerEnd, pidfd: OwnedFd) -> Self {
        Self { end, pidfd }
    }

    /// Opens the gate; returns when the program has been executed, with the time.
    ///
    /// # Errors
    /// Says why the program does not run. The process has then ended, and is to be waited for as after any exit.
    pub fn start(self) -> Result<SystemTime, StartError> {
        self.end.release().map_err(StartError::Channel)?;
        let started = SystemTime::now();
        match self.end.receive() {
            // The channel closes at `execve`.
            Ok(None) => Ok(started),
            Ok(Some(Report::Failed(failure))) => Err(StartError::Step(failure)),
            Ok(Some(Report::Ready { .. })) => Err(self.give_up(ChannelError::Malformed)),
            Err(error) => Err(self.give_up(error)),
        }
    }

    fn give_up(&self, error: ChannelError) -> StartError {
        maker::kill(&self.pidfd);
        StartError::Channel(error)
    }
}
