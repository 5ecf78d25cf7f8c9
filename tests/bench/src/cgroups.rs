//! The cgroups a peer's pods live in: who is in there, and taking them away.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ROOT: &str = "/sys/fs/cgroup";

/// Returns every process in or below a cgroup, whatever the hierarchy.
pub(crate) fn processes(parent: &str) -> Vec<u32> {
    let mut pids: Vec<u32> = directories(parent)
        .iter()
        .flat_map(|directory| members(directory))
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Kills whatever is left in or below a cgroup, and removes it.
pub(crate) fn clear(parent: &str) -> Result<()> {
    for pid in processes(parent) {
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
    harness::wait::until("the cgroup is empty", || {
        Ok(processes(parent).is_empty().then_some(()))
    })?;
    for directory in directories(parent) {
        harness::wait::until("the cgroup is removed", || {
            match std::fs::remove_dir(&directory) {
                Ok(()) => Ok(Some(())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some(())),
                Err(error) => Err(error).with_context(|| format!("remove {}", directory.display())),
            }
        })?;
    }
    Ok(())
}

/// Returns the directories of a cgroup and of those below it, the deepest first.
fn directories(parent: &str) -> Vec<PathBuf> {
    let relative = parent.trim_start_matches('/');
    let mut hierarchies = vec![PathBuf::from(ROOT)];
    hierarchies.extend(children(Path::new(ROOT)));
    let mut open: Vec<PathBuf> = hierarchies
        .into_iter()
        .map(|hierarchy| hierarchy.join(relative))
        .filter(|path| path.is_dir())
        .collect();
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        open.extend(children(&directory));
        found.push(directory);
    }
    found.reverse();
    found
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn members(directory: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}
