//! A shared PID namespace without a pause container: its first process is a child of the shim that only reaps.

use std::os::fd::{BorrowedFd, OwnedFd};

use agent_sys::process::{Fork, Forked, Relation, fork};
use rustix::thread::UnshareFlags;

use crate::channel::{self, ChannelError, Report};
use crate::error::ReaperError;
use crate::failure::Failure;
use crate::init;
use crate::maker::{self, Birth, Mishap};
use crate::request::{CgroupAttach, Namespaces, PidMode};
use crate::shared_mount::SharedMount;
use crate::user_namespace::UserNamespace;

/// A shared PID namespace to make.
#[derive(Debug)]
pub struct ReaperRequest<'a> {
    /// The sandbox's network namespace.
    pub network: Option<BorrowedFd<'a>>,
    /// The sandbox's IPC namespace.
    pub ipc: Option<BorrowedFd<'a>>,
    /// The sandbox's UTS namespace.
    pub uts: Option<BorrowedFd<'a>>,
    /// The sandbox's user namespace, if it has one; it owns the others.
    pub user: Option<UserNamespace<'a>>,
    /// The pod's cgroup.
    pub cgroup: CgroupAttach<'a>,
    /// BPF of a seccomp filter, which must let `pause` through; empty: none.
    pub seccomp: &'a [u8],
}

impl ReaperRequest<'_> {
    pub(crate) const fn namespaces(&self) -> Namespaces<'_> {
        Namespaces {
            network: self.network,
            ipc: self.ipc,
            uts: self.uts,
            pid: PidMode::New,
            user: self.user,
        }
    }
}

/// The first process of a shared PID namespace. Killing it kills every process in the namespace.
#[derive(Debug)]
pub struct Reaper {
    /// Its id, as the caller sees it.
    pub pid: i32,
    /// A handle on it; the caller waits for it and kills through it.
    pub pidfd: OwnedFd,
    proc: SharedMount,
}

impl Reaper {
    /// Returns a procfs of the namespace, for containers that join it.
    pub(crate) const fn proc(&self) -> &SharedMount {
        &self.proc
    }
}

/// Makes a PID namespace whose first process does nothing but reap.
///
/// # Errors
/// Names the step that failed; nothing is left then.
pub fn start_reaper(request: &ReaperRequest<'_>) -> Result<Reaper, ReaperError> {
    let (end, child_end) = channel::open().map_err(ReaperError::Channel)?;
    let cgroup = match request.cgroup {
        CgroupAttach::V2(directory) => Some(directory),
        CgroupAttach::V1(_) | CgroupAttach::Stay => None,
    };
    let (new, birth) = match request.user {
        Some(_) => (UnshareFlags::NEWNS, Birth::First),
        None => (UnshareFlags::NEWNS | UnshareFlags::NEWPID, Birth::Direct),
    };
    let child = match fork(&Fork {
        new,
        cgroup,
        relation: Relation::Child,
    }) {
        Err(error) => return Err(ReaperError::Fork(error)),
        Ok(Forked::Child) => {
            drop(end);
            init::reaper::run(request, child_end)
        }
        Ok(Forked::Parent(child)) => child,
    };
    drop(child_end);
    let prepared = maker::follow(child, &end, birth).map_err(|mishap| match mishap {
        Mishap::Channel(error) => ReaperError::Channel(error),
        Mishap::Step(failure) => ReaperError::Step(failure),
    })?;
    let settled = match end.receive() {
        Ok(None) => Ok(()),
        Ok(Some(Report::Failed(failure))) => Err(ReaperError::Step(failure)),
        Ok(Some(_)) => Err(ReaperError::Channel(ChannelError::Malformed)),
        Err(error) => Err(ReaperError::Channel(error)),
    };
    let proc = settled.and_then(|()| {
        let proc = prepared
            .extra
            .ok_or(ReaperError::Channel(ChannelError::Malformed))?;
        SharedMount::keep(proc).map_err(|error| {
            let failure = Failure::io("share", "the namespace's procfs", error.into_io());
            ReaperError::Step(failure)
        })
    });
    match proc {
        Ok(proc) => Ok(Reaper {
            pid: prepared.pid,
            pidfd: prepared.pidfd,
            proc,
        }),
        Err(error) => {
            maker::kill(&prepared.pidfd);
            maker::reap(&prepared.pidfd);
            Err(error)
        }
    }
}
