//! The first process of a shared PID namespace, from its own side.
//!
//! It reaps and does nothing else. A container of the pod may be able to trace it, so it holds nothing: an empty root,
//! no descriptors, no capabilities, and it lives in the pod's namespaces and cgroup.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use agent_sys::mount::{FilesystemOption, new_filesystem};
use agent_sys::process::{close_all, leave, let_kernel_reap};
use agent_types::user::User;
use nix::sched::{CloneFlags, unshare};
use rustix::mount::MountAttrFlags;
use rustix::thread::UnshareFlags;

use super::create::{begin, detached_procfs, join_namespaces};
use super::credentials::Credentials;
use super::root::{attach_over_root, copy_of_error, make_all_private, pivot};
use super::{Step, cgroup, user_namespace};
use crate::channel::ChildEnd;
use crate::failure::Failure;
use crate::reaper::ReaperRequest;
use crate::request::ResolvedUser;
use crate::times::Times;
use crate::user_namespace::IdMapping;

/// A user that no image has: the highest of the 16-bit ones.
const NOBODY: u32 = 65535;

/// Runs the first process until it is killed.
pub(crate) fn run(request: &ReaperRequest<'_>, end: ChildEnd) -> ! {
    let credentials = Credentials::none(nobody(request), request.seccomp);
    match prepare(request, &end, &credentials) {
        Ok(()) => {
            // Nothing is dropped from here on. `end` closes now, which tells the maker that all is well.
            if close_all().is_err() || credentials.seal().is_err() {
                leave(1);
            }
            rest()
        }
        Err(failure) => {
            end.failed(&failure);
            leave(failure.kind().exit_code())
        }
    }
}

/// Returns a user without a name: the last one, where a user namespace has less.
fn nobody(request: &ReaperRequest<'_>) -> User {
    let last = |mappings: &[IdMapping]| match mappings {
        [.., last] => NOBODY.min(last.inside.saturating_add(last.length.saturating_sub(1))),
        [] => NOBODY,
    };
    let ids = request.user.map(|user| user.ids);
    User {
        uid: ids.map_or(NOBODY, |ids| last(ids.uids)),
        gid: ids.map_or(NOBODY, |ids| last(ids.gids)),
        groups: Vec::new(),
        home: None,
    }
}

fn prepare(request: &ReaperRequest<'_>, end: &ChildEnd, credentials: &Credentials<'_>) -> Step<()> {
    begin()?;
    let_kernel_reap().map_err(|error| Failure::io("ignore", "the ends of children", error))?;
    cgroup::attach(&request.cgroup)?;
    join_namespaces(&request.namespaces())?;
    if let Some(user) = &request.user {
        make_all_private()?;
        user_namespace::enter(user, UnshareFlags::NEWPID)?;
        user_namespace::be_born(end)?;
    }
    let procfs = detached_procfs()?;
    unshare(CloneFlags::CLONE_NEWCGROUP)
        .map_err(|error| Failure::io("make", "its own cgroup namespace", error))?;
    make_all_private()?;
    let root = empty_root()?;
    pivot(root.as_fd())?;
    let report = ResolvedUser {
        uid: NOBODY,
        gid: NOBODY,
        groups: Vec::new(),
    };
    end.ready(&report, Times::default(), 0, &[procfs.as_fd()])
        .map_err(|error| Failure::io("report", "the reaper", error))?;
    credentials.assume()
}

/// Mounts an empty directory that nobody can write to.
fn empty_root() -> Step<OwnedFd> {
    let failed = |error: io::Error| Failure::io("mount", "an empty root", error);
    let options = [
        FilesystemOption::Value("mode", "555"),
        FilesystemOption::Value("size", "0"),
    ];
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let root = new_filesystem("tmpfs", options, attributes)
        .map_err(|error| failed(copy_of_error(error.io())))?;
    attach_over_root(root.as_fd())?;
    Ok(root)
}

/// Sleeps for good: the kernel reaps for a first process that ignores the ends of its children.
fn rest() -> ! {
    loop {
        nix::unistd::pause();
    }
}
