//! A container that is being made by a process of its own, and is taken over when it stands.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use agent_sys::process::Child;
use agent_types::HookStage;

use crate::channel::{ChannelError, MakerEnd, Report};
use crate::error::CreateError;
use crate::external::External;
use crate::failure::Failure;
use crate::gate::StartGate;
use crate::hooks::Hooked;
use crate::maker;
use crate::onlookers::Onlookers;
use crate::request::{Created, ResolvedUser};
use crate::times::Times;

/// A moment for the process itself, beside what it waits for.
const MARGIN: Duration = Duration::from_secs(5);

/// A container that is being made.
#[derive(Debug)]
pub struct Creation {
    end: MakerEnd,
    keeper: Child,
    bundle: PathBuf,
    maker: Maker,
    /// Whether the process was killed because it took too long.
    late: bool,
}

/// Who makes it.
#[derive(Debug)]
pub(crate) enum Maker {
    /// Another runtime.
    Other {
        program: PathBuf,
        id: String,
        /// How long one run of it may take.
        patience: Duration,
    },
    /// This one, with hooks.
    Ourselves {
        hooked: Arc<Hooked>,
        onlookers: Onlookers,
    },
}

/// What the process has told.
struct Stands {
    user: ResolvedUser,
    times: Times,
    pid: i32,
    fds: std::vec::IntoIter<OwnedFd>,
}

impl Stands {
    fn next(&mut self) -> Result<OwnedFd, CreateError> {
        let malformed = || CreateError::Channel(ChannelError::Malformed);
        self.fds.next().ok_or_else(malformed)
    }
}

impl Creation {
    pub(crate) fn new(end: MakerEnd, keeper: Child, bundle: &Path, maker: Maker) -> Self {
        Self {
            end,
            keeper,
            bundle: bundle.to_owned(),
            maker,
            late: false,
        }
    }

    /// Returns how long it may take; then it is to be killed. A keeper that gives up on a runtime
    /// has it clean up, and a container that was refused by a hook has its last ones run.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match &self.maker {
            Maker::Other { patience, .. } => *patience * 2 + MARGIN,
            Maker::Ourselves { hooked, .. } => {
                hooked.patience(&HookStage::ALL) + Duration::from_secs(60) + MARGIN
            }
        }
    }

    /// Returns what becomes readable when there is something to tell.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// Ends a process that takes too long.
    pub fn kill(&mut self) {
        self.late = true;
        maker::kill(&self.keeper.pidfd);
    }

    /// Takes over the container; until then its process must not be waited for.
    ///
    /// # Errors
    /// Names the step that failed, with what was said of it; nothing of the container is left then.
    pub fn finish(self) -> Result<Created, CreateError> {
        let bundle = self.bundle.clone();
        self.take_over().inspect_err(|_| {
            // What is left of it goes with the sandbox's directory.
            let _ = std::fs::remove_dir_all(&bundle);
        })
    }

    fn take_over(self) -> Result<Created, CreateError> {
        let mut stands = self.hear()?;
        match self.maker {
            Maker::Ourselves { hooked, onlookers } => {
                maker::reap(&self.keeper.pidfd);
                let pidfd = stands.next()?;
                let end = MakerEnd::from(stands.next()?);
                let copy = copy_of(&pidfd)?;
                Ok(Created {
                    pid: stands.pid,
                    pidfd,
                    gate: StartGate::with_hooks((end, stands.pid, copy), hooked),
                    onlookers,
                    terminal: stands.fds.next(),
                    user: stands.user,
                    times: stands.times,
                    external: None,
                })
            }
            Maker::Other {
                program,
                id,
                patience,
            } => {
                let external = Arc::new(External {
                    program,
                    id,
                    bundle: self.bundle,
                    patience,
                    mounts: stands.next()?,
                    sessions: AtomicU32::new(0),
                });
                let (pid, pidfd, gate) = match stands.pid {
                    // It keeps the place of a container whose program does not exist.
                    0 => {
                        let copy = copy_of(&self.keeper.pidfd)?;
                        let gate = StartGate::new(self.end, copy);
                        (self.keeper.pid, self.keeper.pidfd, gate)
                    }
                    pid => {
                        maker::reap(&self.keeper.pidfd);
                        let gate = StartGate::of_external(Arc::clone(&external));
                        (pid, stands.next()?, gate)
                    }
                };
                Ok(Created {
                    pid,
                    pidfd,
                    gate,
                    onlookers: Onlookers::Bystanders,
                    terminal: stands.fds.next(),
                    user: stands.user,
                    times: Times::default(),
                    external: Some(external),
                })
            }
        }
    }

    /// Hears what the process has to say; one that has failed is gone afterwards.
    fn hear(&self) -> Result<Stands, CreateError> {
        let error = match self.end.receive() {
            Ok(Some(Report::Ready {
                user,
                times,
                pid,
                fds,
            })) => {
                return Ok(Stands {
                    user,
                    times,
                    pid,
                    fds: fds.into_iter(),
                });
            }
            Ok(Some(Report::Failed(failure))) => CreateError::Step(failure),
            Ok(None) if self.late => CreateError::Channel(ChannelError::Silent),
            Ok(None) => CreateError::Channel(ChannelError::Closed),
            Ok(Some(_)) => {
                maker::kill(&self.keeper.pidfd);
                CreateError::Channel(ChannelError::Malformed)
            }
            Err(error) => {
                maker::kill(&self.keeper.pidfd);
                CreateError::Channel(error)
            }
        };
        maker::reap(&self.keeper.pidfd);
        Err(error)
    }
}

fn copy_of(pidfd: &OwnedFd) -> Result<OwnedFd, CreateError> {
    pidfd.try_clone().map_err(|error| {
        let failure = Failure::io("keep", "a handle on the container's process", error);
        CreateError::Step(failure)
    })
}
