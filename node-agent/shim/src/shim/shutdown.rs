//! The end of a sandbox: kill, wait, answer, go.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use proto_shim::{Done, reply};

use super::Shim;
use crate::container::Phase;
use crate::error::RequestError;

/// How long processes that were killed may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(50);

/// How far the end has come.
#[derive(Debug, Default)]
pub(crate) enum Shutdown {
    /// Nobody has asked for it.
    #[default]
    No,
    /// Everything was killed; what is left of it ends.
    Ending {
        /// The request to answer; `None` when its agent has gone.
        request: Option<u64>,
        next_look: Instant,
        deadline: Instant,
    },
    /// All is done.
    Over,
}

impl Shutdown {
    pub(super) const fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    pub(super) const fn is_asked_for(&self) -> bool {
        !matches!(self, Self::No)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Ending { next_look, .. } => Some(*next_look),
            Self::No | Self::Over => None,
        }
    }

    pub(super) fn forget_request(&mut self) {
        if let Self::Ending { request, .. } = self {
            *request = None;
        }
    }
}

impl Shim {
    /// Begins the end.
    pub(super) fn shut_down(&mut self, request: u64) {
        let now = Instant::now();
        self.shutdown = Shutdown::Ending {
            request: Some(request),
            next_look: now,
            deadline: now + PATIENCE,
        };
        self.check_shutdown(now);
    }

    /// Looks whether everything has ended.
    pub(super) fn check_shutdown(&mut self, now: Instant) {
        let Shutdown::Ending {
            request,
            next_look,
            deadline,
        } = self.shutdown
        else {
            return;
        };
        let left = self
            .containers
            .iter()
            .filter(|container| !matches!(container.phase, Phase::Exited(_)))
            .count();
        let sessions = self.sessions.iter().any(|session| !session.ended);
        if left == 0 && !sessions {
            self.forget_all();
        }
        if left == 0 && !sessions && self.jobs.is_empty() {
            self.shutdown = Shutdown::Over;
            self.clear_away();
            self.answer_shutdown(request, Ok(()));
        } else if now >= deadline && self.jobs.is_empty() {
            // Something does not die (a disk that hangs): stay its keeper, and let the agent decide.
            self.shutdown = Shutdown::No;
            self.answer_shutdown(request, Err(RequestError::Shutdown { count: left }));
        } else if now >= next_look {
            for container in self
                .containers
                .iter_mut()
                .filter(|container| container.is_alive())
            {
                container.kill();
            }
            for session in self.sessions.iter().filter(|session| !session.ended) {
                let _ = session.signal(9);
            }
            self.shutdown = Shutdown::Ending {
                request,
                next_look: now + LOOK,
                deadline,
            };
        }
    }

    /// Has other runtimes forget their containers, once.
    fn forget_all(&mut self) {
        let mut containers = std::mem::take(&mut self.containers);
        for container in &mut containers {
            self.begin_to_forget(None, container);
        }
        self.containers = containers;
    }

    /// Removes what others could still find of the shim.
    pub(super) fn clear_away(&self) {
        if let Some(reaper) = self.sandbox.reaper() {
            let _ = agent_sys::signal::send(reaper.pidfd.as_fd(), 9);
            crate::pipes::wait_for(&reaper.pidfd);
        }
        self.directory.remove_socket();
    }

    fn answer_shutdown(&mut self, request: Option<u64>, outcome: Result<(), RequestError>) {
        let Some(request) = request else { return };
        let result = match outcome {
            Ok(()) => reply::Result::Done(Done {}),
            Err(error) => reply::Result::Error((&error).into()),
        };
        self.reply(request, result, Vec::new());
    }
}
