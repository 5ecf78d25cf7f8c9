//! Creating a container, the maker's side.

use std::os::fd::AsFd as _;

use agent_sys::process::{Fork, Forked, Relation, fork};
use rustix::thread::UnshareFlags;

use crate::channel::{self, MakerEnd};
use crate::error::CreateError;
use crate::failure::Failure;
use crate::gate::StartGate;
use crate::init;
use crate::maker::{self, Birth, Mishap, Prepared};
use crate::onlookers::Onlookers;
use crate::request::{CgroupAttach, CreateRequest, Created, PidMode};
use crate::shared_mount::Copies;
use crate::times::Times;

/// Clones a container's first process and follows it to just before its program.
///
/// # Errors
/// Names the step that failed; nothing of the container is left then.
pub fn create(request: CreateRequest<'_>) -> Result<Created, CreateError> {
    let copies = Copies::take(&request).map_err(|source| {
        let failure = Failure::io("copy", "the sandbox's shared mounts", source);
        CreateError::Step(failure)
    })?;
    create_with(request, copies)
}

/// Does the same where the sandbox's mounts have been copied.
pub(crate) fn create_with(
    request: CreateRequest<'_>,
    copies: Copies,
) -> Result<Created, CreateError> {
    if let Some(hooked) = request.hooks {
        hooked
            .write_bundle(request.spec)
            .map_err(CreateError::Step)?;
    }
    let (end, child_end) = channel::open().map_err(CreateError::Channel)?;
    let (new, birth) = match request.namespaces.pid {
        PidMode::New if request.namespaces.user.is_some() => (UnshareFlags::NEWNS, Birth::First),
        PidMode::New => (UnshareFlags::NEWNS | UnshareFlags::NEWPID, Birth::Direct),
        PidMode::Host => (UnshareFlags::NEWNS, Birth::Direct),
        PidMode::Join(_) | PidMode::Target(_) => (UnshareFlags::NEWNS, Birth::Sibling),
    };
    let cgroup = match request.cgroup {
        CgroupAttach::V2(directory) => Some(directory),
        CgroupAttach::V1(_) | CgroupAttach::Stay => None,
    };
    let options = Fork {
        new,
        cgroup,
        relation: Relation::Child,
    };
    let begun = Times::now();
    let child = match fork(&options).map_err(CreateError::Fork)? {
        Forked::Child => {
            drop(end);
            init::create::run(request, copies, child_end)
        }
        Forked::Parent(child) => child,
    };
    drop(child_end);
    // While the child is at work.
    let onlookers = onlookers(&request);
    let own_pid = matches!(request.namespaces.pid, PidMode::New);
    let hooked = request.hooks;
    drop(request);
    let followed = match hooked {
        None => maker::follow(child, &end, birth),
        Some(hooked) => maker::follow_with_hooks(child, &end, birth, |child| {
            hooked.before_root(child.pid, child.pidfd.as_fd(), own_pid)
        }),
    };
    let prepared = followed.map_err(|mishap| match mishap {
        Mishap::Channel(error) => CreateError::Channel(error),
        Mishap::Step(failure) => CreateError::Step(failure),
    })?;
    finish(prepared, end, onlookers, begun)
}

/// Returns what the container's processes may do to others of their PID namespace.
pub(crate) fn onlookers(request: &CreateRequest<'_>) -> Onlookers {
    match request.namespaces.pid {
        PidMode::New => Onlookers::of_spec(request.spec),
        // Others live there too.
        PidMode::Host | PidMode::Join(_) | PidMode::Target(_) => Onlookers::Tracers,
    }
}

fn finish(
    prepared: Prepared,
    end: MakerEnd,
    onlookers: Onlookers,
    begun: i64,
) -> Result<Created, CreateError> {
    let gate_pidfd = prepared.pidfd.try_clone().map_err(|source| {
        maker::kill(&prepared.pidfd);
        maker::reap(&prepared.pidfd);
        CreateError::Step(Failure::io(
            "keep",
            "a handle on the container's process",
            source,
        ))
    })?;
    Ok(Created {
        pid: prepared.pid,
        pidfd: prepared.pidfd,
        onlookers,
        gate: StartGate::new(end, gate_pidfd),
        terminal: prepared.extra,
        user: prepared.user,
        times: Times {
            begun,
            ..prepared.times
        },
        external: None,
    })
}
