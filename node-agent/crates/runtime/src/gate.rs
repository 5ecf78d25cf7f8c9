//! What a created container waits for.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::SystemTime;

use crate::channel::{ChannelError, MakerEnd, Report};
use crate::error::StartError;
use crate::external::{External, Starting};
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

/// What a gate that was opened has let through.
#[derive(Debug)]
pub enum Opened {
    /// The program was executed, at this time.
    Running(SystemTime),
    /// Another runtime sees to that, and is to be followed.
    Starting(Starting),
}

impl StartGate {
    pub(crate) const fn new(end: MakerEnd, pidfd: OwnedFd) -> Self {
        Self(Kind::Waiting { end, pidfd })
    }

    pub(crate) const fn of_external(external: Arc<External>) -> Self {
        Self(Kind::External(external))
    }

    /// Opens the gate; returns when the program has been executed, or another runtime is about to.
    ///
    /// # Errors
    /// Says why the program does not run. The process has then ended, or is to be killed, and is to be waited for as after any exit.
    pub fn start(self) -> Result<Opened, StartError> {
        let (end, pidfd) = match &self.0 {
            Kind::Waiting { end, pidfd } => (end, pidfd),
            Kind::External(external) => return external.start().map(Opened::Starting),
        };
        let give_up = |error| {
            maker::kill(pidfd);
            StartError::Channel(error)
        };
        end.release().map_err(StartError::Channel)?;
        let started = SystemTime::now();
        match end.receive() {
            // The channel closes at `execve`.
            Ok(None) => Ok(Opened::Running(started)),
            Ok(Some(Report::Failed(failure))) => Err(StartError::Step(failure)),
            Ok(Some(Report::Ready { .. } | Report::Born { .. })) => {
                Err(give_up(ChannelError::Malformed))
            }
            Err(error) => Err(give_up(error)),
        }
    }
}
