//! Taking cgroups away, with whatever is still in them.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::error::RemoveError;
use crate::tree::Inner;
use crate::{CgroupPath, Hierarchy, file, kill};

/// How long processes that were killed may take to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest single wait for them; afterwards the directory is tried again.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Removes one empty directory.
pub(crate) fn directory(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<(), Errno> {
    rustix::fs::unlinkat(hierarchy.root(), path.relative(), AtFlags::REMOVEDIR)
}

/// Returns `path` and all cgroups below it, each after those below it; nothing if it is gone.
pub(crate) fn subtree(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Vec<CgroupPath>, Errno> {
    let mut waiting = vec![path.clone()];
    let mut found = Vec::new();
    while let Some(next) = waiting.pop() {
        let names = match hierarchy.directory(&next) {
            Ok(fd) => match file::children(fd.as_fd()) {
                Ok(names) => names,
                Err(Errno::NOENT | Errno::NODEV) => continue,
                Err(errno) => return Err(errno),
            },
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        };
        // A name a container chose may be one that we would not; it still has to go.
        waiting.extend(names.iter().filter_map(|name| next.join(name).ok()));
        found.push(next);
    }
    found.reverse();
    Ok(found)
}

/// Removes a cgroup and what is below it from every hierarchy.
pub(crate) fn remove(tree: &Inner, path: &CgroupPath) -> Result<(), RemoveError> {
    let deadline = Instant::now() + PATIENCE;
    for hierarchy in tree.hierarchies() {
        match directory(hierarchy, path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::BUSY | Errno::NOTEMPTY) => {
                empty_and_remove(tree, hierarchy, path, deadline)?
            }
            Err(source) => return Err(failed(hierarchy, path, source)),
        }
    }
    // By itself systemd forgets a scope of v1 late, and a slice never.
    if let Some(systemd) = tree.systemd() {
        systemd.forget(path);
    }
    Ok(())
}

fn failed(hierarchy: &Hierarchy, path: &CgroupPath, source: Errno) -> RemoveError {
    RemoveError::Directory {
        path: path.clone(),
        hierarchy: hierarchy.name().to_owned(),
        source,
    }
}

/// Kills what runs in the way, waits for its end, and removes level by level.
fn empty_and_remove(
    tree: &Inner,
    hierarchy: &Hierarchy,
    path: &CgroupPath,
    deadline: Instant,
) -> Result<(), RemoveError> {
    let mut pause = Duration::from_millis(1);
    loop {
        if remove_levels(hierarchy, path)? {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(RemoveError::Busy {
                path: path.clone(),
                hierarchy: hierarchy.name().to_owned(),
            });
        }
        kill_leftovers(tree, hierarchy, path, pause)?;
        pause = (pause * 2).min(LONGEST_WAIT);
    }
}

/// Removes the subtree as far as it is empty; returns whether all of it is gone.
fn remove_levels(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<bool, RemoveError> {
    let levels = subtree(hierarchy, path).map_err(|source| failed(hierarchy, path, source))?;
    let mut all = true;
    for level in levels {
        match directory(hierarchy, &level) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::BUSY | Errno::NOTEMPTY) => all = false,
            Err(source) => return Err(failed(hierarchy, &level, source)),
        }
    }
    Ok(all)
}

/// Kills every process of the subtree and waits until they ended, at most as long as one wait may
/// take; `pause` is the wait where there is no process to wait for.
fn kill_leftovers(
    tree: &Inner,
    hierarchy: &Hierarchy,
    path: &CgroupPath,
    pause: Duration,
) -> Result<(), RemoveError> {
    let in_kill = |source| RemoveError::Kill {
        path: path.clone(),
        source,
    };
    // A frozen process does not die on v1.
    kill::kill(tree, path).map_err(in_kill)?;
    let leftovers = kill::processes(hierarchy, path).map_err(in_kill)?;
    let ends: Vec<OwnedFd> = leftovers
        .into_iter()
        .filter_map(kill_by_descriptor)
        .collect();
    if ends.is_empty() {
        // The last one is between its end and its leaving the cgroup.
        wait_for_any(&[], pause);
    } else {
        wait_for_any(&ends, LONGEST_WAIT);
    }
    Ok(())
}

/// Kills a process through a descriptor, which tells of its end.
fn kill_by_descriptor(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    rustix::process::pidfd_send_signal(&descriptor, Signal::KILL).ok()?;
    Some(descriptor)
}

/// Waits until one of the processes ended, or until the time is over.
pub(crate) fn wait_for_any(processes: &[OwnedFd], longest: Duration) {
    let mut polled: Vec<_> = processes
        .iter()
        .map(|p| PollFd::new(p, PollFlags::IN))
        .collect();
    let longest = Timespec::try_from(longest).ok();
    // An interrupted wait only means that the directory is tried again sooner.
    let _ = rustix::event::poll(&mut polled, longest.as_ref());
}
