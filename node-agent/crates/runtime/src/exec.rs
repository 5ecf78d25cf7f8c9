//! Running a program in a running container, the maker's side.

use agent_sys::process::{Fork, Forked, Relation, fork};
use rustix::thread::UnshareFlags;

use crate::channel::{self, ChannelError, MakerEnd, Report};
use crate::error::ExecError;
use crate::init;
use crate::maker::{self, Birth, Mishap};
use crate::onlookers::Onlookers;
use crate::request::{CgroupAttach, ExecRequest, Execed};
use crate::visit::VisitError;

/// Executes a program in a container's namespaces and cgroup.
///
/// # Errors
/// Says why the program does not run; nothing of the session is left then.
pub fn exec(request: ExecRequest<'_>) -> Result<Execed, ExecError> {
    let (end, child_end) = channel::open().map_err(ExecError::Channel)?;
    let cgroup = match request.cgroup {
        CgroupAttach::V2(directory) => Some(directory),
        CgroupAttach::V1(_) | CgroupAttach::Stay => None,
    };
    let birth = request.birth();
    let options = Fork {
        new: UnshareFlags::empty(),
        cgroup,
        relation: Relation::Child,
    };
    let forked = match birth {
        Birth::Inside => request.home.fork_away(request.container, &options),
        Birth::Direct | Birth::Sibling | Birth::First => fork(&options).map_err(VisitError::Fork),
    };
    let forked = forked.map_err(|error| match error {
        VisitError::Way(failure) => ExecError::Step(failure),
        VisitError::Fork(error) => ExecError::Fork(error),
    })?;
    let child = match forked {
        Forked::Child => {
            drop(end);
            init::exec::run(request, child_end)
        }
        Forked::Parent(child) => child,
    };
    drop(child_end);
    let onlookers = Onlookers::of_process(request.process);
    drop(request);
    let prepared = maker::follow(child, &end, birth).map_err(|mishap| match mishap {
        Mishap::Channel(error) => ExecError::Channel(error),
        Mishap::Step(failure) => ExecError::Step(failure),
    })?;
    if let Err(error) = executed(&end) {
        maker::kill(&prepared.pidfd);
        maker::reap(&prepared.pidfd);
        return Err(error);
    }
    Ok(Execed {
        pid: prepared.pid,
        pidfd: prepared.pidfd,
        onlookers,
        terminal: prepared.extra,
    })
}

/// Waits for the channel to close, which `execve` does.
fn executed(end: &MakerEnd) -> Result<(), ExecError> {
    match end.receive() {
        Ok(None) => Ok(()),
        Ok(Some(Report::Failed(failure))) => Err(ExecError::Step(failure)),
        Ok(Some(_)) => Err(ExecError::Channel(ChannelError::Malformed)),
        Err(error) => Err(ExecError::Channel(error)),
    }
}
