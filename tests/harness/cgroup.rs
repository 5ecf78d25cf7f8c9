//! A cgroup and those below it, in whatever hierarchies there are: who is in there, and taking them away.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::process;
use crate::wait;

const ROOT: &str = "/sys/fs/cgroup";

/// Returns the directories of a cgroup and of those below it, the deepest first.
#[must_use]
pub fn directories(cgroup: &str) -> Vec<PathBuf> {
    let relative = cgroup.trim_start_matches('/');
    let root = Path::new(ROOT);
    let mut open: Vec<PathBuf> = std::iter::once(root.to_owned())
        .chain(children(root))
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

/// Returns every process in or below a cgroup, each once.
#[must_use]
pub fn processes(cgroup: &str) -> Vec<u32> {
    let mut pids: Vec<u32> = directories(cgroup)
        .iter()
        .flat_map(|directory| members(directory))
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Kills whatever is in or below a cgroup, and removes it.
pub fn clear(cgroup: &str) -> Result<()> {
    process::end_all("the cgroup is empty", || Ok(processes(cgroup)))?;
    for directory in directories(cgroup) {
        wait::until("the cgroup is removed", || {
            match std::fs::remove_dir(&directory) {
                Ok(()) => Ok(Some(())),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(())),
                Err(error) => Err(error).with_context(|| format!("remove {}", directory.display())),
            }
        })?;
    }
    Ok(())
}

/// A cgroup of a test's own; dropped, it is cleared with whatever is in or below it.
#[derive(Debug)]
pub struct Own(String);

impl Own {
    /// Takes charge of a cgroup, which need not be there yet.
    #[must_use]
    pub fn new(cgroup: &str) -> Self {
        Self(cgroup.to_owned())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let cleared = clear(&self.0);
        if !std::thread::panicking() {
            assert!(cleared.is_ok(), "{cleared:?}");
        }
    }
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
