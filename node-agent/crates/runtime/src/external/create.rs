//! Having another runtime create a container, the maker's side.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use agent_sys::process::{Child, Fork, Forked, Relation, fork};
use rustix::thread::UnshareFlags;

use super::{External, ExternalRequest, Run, directory};
use crate::channel::{self, ChannelError, MakerEnd, Report};
use crate::error::CreateError;
use crate::failure::Failure;
use crate::gate::StartGate;
use crate::init;
use crate::maker;
use crate::onlookers::Onlookers;
use crate::request::{CreateRequest, Created, ResolvedUser};
use crate::shared_mount::Copies;
use crate::times::Times;

/// A container that another runtime is making.
#[derive(Debug)]
pub struct Creation {
    end: MakerEnd,
    keeper: Child,
    program: PathBuf,
    id: String,
    bundle: PathBuf,
    /// Whether the keeper was killed because it took too long.
    late: bool,
}

/// Has another runtime create a container, in a process that is followed with what this returns.
///
/// The runtime ends before the container, whose process then comes to the caller: a subreaper
/// (prctl(2)), or it would come to the host's init.
///
/// # Errors
/// Says why that could not even begin.
pub fn create(
    request: CreateRequest<'_>,
    how: ExternalRequest<'_>,
) -> Result<Creation, CreateError> {
    let copies = Copies::take(&request)
        .map_err(|source| Failure::io("copy", "the sandbox's shared mounts", source))
        .map_err(CreateError::Step)?;
    let (end, child_end) = channel::open().map_err(CreateError::Channel)?;
    let place = directory(how.bundle).map_err(CreateError::Step)?;
    let options = Fork {
        new: UnshareFlags::empty(),
        cgroup: None,
        relation: Relation::Child,
    };
    let keeper = match fork(&options).map_err(CreateError::Fork)? {
        Forked::Child => {
            drop(end);
            init::keeper::run(request, how, &place, copies, child_end)
        }
        Forked::Parent(child) => child,
    };
    Ok(Creation {
        end,
        keeper,
        program: how.program.to_owned(),
        id: how.id.to_owned(),
        bundle: how.bundle.to_owned(),
        late: false,
    })
}

impl Creation {
    /// How long it may take; then it is to be killed. A keeper that gives up on a runtime has it
    /// clean up, and needs a moment for itself.
    pub const PATIENCE: Duration = Run::PATIENCE
        .saturating_mul(2)
        .saturating_add(Duration::from_secs(5));

    /// Returns what becomes readable when there is something to tell.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// Ends a keeper that takes too long.
    pub fn kill(&mut self) {
        self.late = true;
        maker::kill(&self.keeper.pidfd);
    }

    /// Takes over the container; until then its process must not be waited for.
    ///
    /// # Errors
    /// Names the step that failed, with what the runtime says; nothing of the container is left then.
    pub fn finish(self) -> Result<Created, CreateError> {
        let bundle = self.bundle.clone();
        self.take_over().inspect_err(|_| {
            // What is left of it goes with the sandbox's directory.
            let _ = std::fs::remove_dir_all(&bundle);
        })
    }

    fn take_over(self) -> Result<Created, CreateError> {
        let (user, pid, fds) = self.hear()?;
        let mut fds = fds.into_iter();
        let malformed = || CreateError::Channel(ChannelError::Malformed);
        let external = Arc::new(External {
            program: self.program,
            id: self.id,
            bundle: self.bundle,
            mounts: fds.next().ok_or_else(malformed)?,
            sessions: AtomicU32::new(0),
        });
        let (pid, pidfd, gate) = match pid {
            // It keeps the place of a container whose program does not exist.
            0 => {
                let failed =
                    |error| Failure::io("keep", "a handle on the container's process", error);
                let copy = self.keeper.pidfd.try_clone().map_err(failed);
                let gate = StartGate::new(self.end, copy.map_err(CreateError::Step)?);
                (self.keeper.pid, self.keeper.pidfd, gate)
            }
            pid => {
                maker::reap(&self.keeper.pidfd);
                let pidfd = fds.next().ok_or_else(malformed)?;
                (pid, pidfd, StartGate::of_external(Arc::clone(&external)))
            }
        };
        Ok(Created {
            pid,
            pidfd,
            gate,
            onlookers: Onlookers::Bystanders,
            terminal: fds.next(),
            user,
            times: Times::default(),
            external: Some(external),
        })
    }

    /// Hears what the keeper has to say; one that has failed is gone afterwards.
    fn hear(&self) -> Result<(ResolvedUser, i32, Vec<OwnedFd>), CreateError> {
        let error = match self.end.receive() {
            Ok(Some(Report::Ready { user, pid, fds, .. })) => return Ok((user, pid, fds)),
            Ok(Some(Report::Failed(failure))) => CreateError::Step(failure),
            Ok(None) if self.late => CreateError::Channel(ChannelError::Silent),
            Ok(None) => CreateError::Channel(ChannelError::Closed),
            Ok(Some(Report::Born { .. })) => {
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
