//! What a created container waits for.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::SystemTime;

use crate::channel::{ChannelError, MakerEnd, Report};
use crate::error::StartError;
use crate::external::External;
use crate::maker;

/// The gate before a container's program. Dropped unopened, it lets a waiting process end.
#[derive(Debug)]
pub struct StartGate(Kind);

#[derive(Debug)]
enum Kind {
    /// A process of ours waits for a word.
    Waiting { end: MakerEnd, pidfd: OwnedFd },
    /// Another runtime knows how to start it.
    External(Arc<External>),
}

impl StartGate {
    pub(crate) const fn new(end: MakerEnd, pidfd: OwnedFd) -> Self {
        Self(Kind::Waiting { end, pidfd })
    }

    pub(crate) const fn of_external(external: Arc<External>) -> Self {
        Self(Kind::External(external))
    }

    /// Opens the gate; returns when the program has been executed, with the time.
    ///
    /// # Errors
    /// Says why the program does not run. The process has then ended, or is to be killed, and is to be waited for as after any exit.
    pub fn start(self) -> Result<SystemTime, StartError> {
        let (end, pidfd) = match &self.0 {
            Kind::Waiting { end, pidfd } => (end, pidfd),
            Kind::External(external) => {
                let started = SystemTime::now();
                return external.start().map(|()| started);
            }
        };
        let give_up = |error| {
            maker::kill(pidfd);
            StartError::Channel(error)
        };
        end.release().map_err(StartError::Channel)?;
        let started = SystemTime::now();
        match end.receive() {
            // The channel closes at `execve`.
            Ok(None) => Ok(started),
            Ok(Some(Report::Failed(failure))) => Err(StartError::Step(failure)),
            Ok(Some(Report::Ready { .. } | Report::Born { .. })) => {
                Err(give_up(ChannelError::Malformed))
            }
            Err(error) => Err(give_up(error)),
        }
    }
}
