//! Having another runtime create a container, the maker's side.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use agent_sys::process::{Child, Fork, Forked, Relation, fork};
use rustix::thread::UnshareFlags;

use super::{External, ExternalRequest, directory};
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

/// Has another runtime create a container.
///
/// # Errors
/// Names the step that failed, with what the runtime says; nothing of the container is left then.
pub fn create(
    request: CreateRequest<'_>,
    how: ExternalRequest<'_>,
) -> Result<Created, CreateError> {
    let copies = Copies::take(&request)
        .map_err(|source| Failure::io("copy", "the sandbox's shared mounts", source))
        .map_err(CreateError::Step)?;
    let (end, child_end) = channel::open().map_err(CreateError::Channel)?;
    // The runtime ends before the container: its child comes to us, not to the host's init.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| Failure::io("adopt", "the container's process", error))
        .map_err(CreateError::Step)?;
    let place = directory(how.bundle).map_err(CreateError::Step)?;
    let options = Fork {
        new: UnshareFlags::empty(),
        cgroup: None,
        relation: Relation::Child,
    };
    let child = match fork(&options).map_err(CreateError::Fork)? {
        Forked::Child => {
            drop(end);
            init::keeper::run(request, how, &place, copies, child_end)
        }
        Forked::Parent(child) => child,
    };
    drop(child_end);
    drop(request);
    let (user, pid, fds) = hear(&end, &child)?;
    let mut fds = fds.into_iter();
    let malformed = || CreateError::Channel(ChannelError::Malformed);
    let external = Arc::new(External {
        program: how.program.to_owned(),
        id: how.id.to_owned(),
        bundle: how.bundle.to_owned(),
        mounts: fds.next().ok_or_else(malformed)?,
        sessions: AtomicU32::new(0),
    });
    let (pid, pidfd, gate) = match pid {
        // It keeps the place of a container whose program does not exist.
        0 => {
            let failed = |error| Failure::io("keep", "a handle on the container's process", error);
            let copy = child.pidfd.try_clone().map_err(failed);
            let gate = StartGate::new(end, copy.map_err(CreateError::Step)?);
            (child.pid, child.pidfd, gate)
        }
        pid => {
            maker::reap(&child.pidfd);
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

/// Waits for what the keeper has to say; one that has failed is gone afterwards.
fn hear(end: &MakerEnd, keeper: &Child) -> Result<(ResolvedUser, i32, Vec<OwnedFd>), CreateError> {
    let error = match end.receive() {
        Ok(Some(Report::Ready { user, pid, fds, .. })) => return Ok((user, pid, fds)),
        Ok(Some(Report::Failed(failure))) => CreateError::Step(failure),
        Ok(None) => CreateError::Channel(ChannelError::Closed),
        Ok(Some(Report::Born { .. })) => {
            maker::kill(&keeper.pidfd);
            CreateError::Channel(ChannelError::Malformed)
        }
        Err(error) => {
            maker::kill(&keeper.pidfd);
            CreateError::Channel(error)
        }
    };
    maker::reap(&keeper.pidfd);
    Err(error)
}
