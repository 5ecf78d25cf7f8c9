//! Creating a container with hooks: in a helper, because they take time.

use std::os::fd::AsFd;
use std::sync::Arc;

use agent_sys::process::{Fork, Forked, Relation, fork, leave};
use rustix::thread::UnshareFlags;

use super::Hooked;
use crate::channel::{self, ChildEnd};
use crate::create::{create_with, onlookers};
use crate::creation::{Creation, Maker};
use crate::error::CreateError;
use crate::failure::Failure;
use crate::maker;
use crate::request::CreateRequest;
use crate::shared_mount::Copies;

/// Creates a container whose request names its hooks, in a process that is followed with what this
/// returns.
///
/// That process ends before the container, whose first process then comes to the caller: a
/// subreaper (prctl(2)), or it would come to the host's init.
///
/// # Errors
/// Says why that could not even begin.
pub fn create_with_hooks(
    request: CreateRequest<'_>,
    hooked: &Arc<Hooked>,
) -> Result<Creation, CreateError> {
    // Here: what a copy of this process takes is not known to be taken.
    let copies = Copies::take(&request)
        .map_err(|source| Failure::io("copy", "the sandbox's shared mounts", source))
        .map_err(CreateError::Step)?;
    let (end, child_end) = channel::open().map_err(CreateError::Channel)?;
    let onlookers = onlookers(&request);
    let options = Fork {
        new: UnshareFlags::empty(),
        cgroup: None,
        relation: Relation::Child,
    };
    let keeper = match fork(&options).map_err(CreateError::Fork)? {
        Forked::Child => {
            drop(end);
            run(request, copies, hooked, &child_end)
        }
        Forked::Parent(child) => child,
    };
    let maker = Maker::Ourselves {
        hooked: Arc::clone(hooked),
        onlookers,
    };
    Ok(Creation::new(end, keeper, hooked.bundle(), maker))
}

/// The helper's side.
fn run(request: CreateRequest<'_>, copies: Copies, hooked: &Hooked, end: &ChildEnd) -> ! {
    let created = match create_with(request, copies) {
        Ok(created) => created,
        Err(error) => {
            // What a hook has made for it another one may have to undo.
            let _ = hooked.after_end();
            end.failed(&error.into_failure());
            leave(1)
        }
    };
    let mut fds = vec![created.pidfd.as_fd()];
    fds.extend(created.gate.end());
    fds.extend(created.terminal.iter().map(AsFd::as_fd));
    let sent = end.ready(&created.user, created.times, created.pid, &fds);
    if sent.is_err() {
        // The caller is gone, and nobody would ever find the container.
        maker::kill(&created.pidfd);
    }
    leave(0)
}
