//! Having another runtime create a container, the maker's side.

use agent_sys::process::{Fork, Forked, Relation, fork};
use rustix::thread::UnshareFlags;

use super::{ExternalRequest, directory};
use crate::channel;
use crate::creation::{Creation, Maker};
use crate::error::CreateError;
use crate::failure::Failure;
use crate::init;
use crate::request::CreateRequest;
use crate::shared_mount::Copies;

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
    let maker = Maker::Other {
        program: how.program.to_owned(),
        id: how.id.to_owned(),
        patience: how.patience,
    };
    Ok(Creation::new(end, keeper, how.bundle, maker))
}
