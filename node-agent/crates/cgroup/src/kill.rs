//! Stopping everything in a cgroup: frozen, thawed or killed.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::error::CgroupError;
use crate::tree::Inner;
use crate::{CgroupPath, Hierarchy, Version, file, remove};

/// How often the state is read while the kernel is still freezing, and how far apart.
const FREEZE_READS: u32 = 400;
const FREEZE_READS_TO_KILL: u32 = 20;
const BETWEEN_READS: Duration = Duration::from_millis(1);
/// How often freezing and killing is repeated on v1 when processes stay unfrozen and may fork.
const KILL_ROUNDS: u32 = 10;

/// Returns the processes of a cgroup and of those below it; none if it is gone.
pub(crate) fn processes(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Vec<u32>, CgroupError> {
    let failed = |source| CgroupError::Read {
        path: path.clone(),
        file: "cgroup.procs",
        source,
    };
    let mut pids = Vec::new();
    for level in remove::subtree(hierarchy, path).map_err(failed)? {
        let name = format!("{}/cgroup.procs", level.relative());
        match file::read(hierarchy.root(), &name) {
            // 0 stands for a process of another PID namespace, which cannot be named here.
            Ok(text) => pids.extend(
                text.lines()
                    .filter_map(|l| l.parse::<u32>().ok())
                    .filter(|pid| *pid > 0),
            ),
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(pids)
}

/// Kills everything in a cgroup and below it, without waiting.
pub(crate) fn kill(tree: &Inner, path: &CgroupPath) -> Result<(), CgroupError> {
    match tree.version() {
        Version::V2 => {
            let name = format!("{}/cgroup.kill", path.relative());
            match file::write(tree.hierarchy("").root(), &name, "1") {
                Ok(()) => Ok(()),
                // Gone, or a kernel before 5.14.
                Err(Errno::NOENT | Errno::NODEV | Errno::ACCESS) => kill_frozen(tree, path),
                Err(source) => Err(CgroupError::Write {
                    path: path.clone(),
                    file: "cgroup.kill",
                    source,
                }),
            }
        }
        Version::V1 => kill_frozen(tree, path),
    }
}

/// Freezes, kills what is there, and thaws, until a round found everything frozen: a process that
/// was frozen when it was killed cannot have forked in between.
fn kill_frozen(tree: &Inner, path: &CgroupPath) -> Result<(), CgroupError> {
    let hierarchy = tree.hierarchy("freezer");
    let mut outcome = Ok(());
    for _ in 0..KILL_ROUNDS {
        if processes(hierarchy, path)?.is_empty() {
            break;
        }
        let frozen = set_frozen(tree, path, true, FREEZE_READS_TO_KILL);
        outcome = processes(hierarchy, path).and_then(|pids| signal_all(path, &pids));
        match set_frozen(tree, path, false, 0) {
            Ok(()) | Err(CgroupError::NotFound { .. } | CgroupError::NoFreezer { .. }) => {}
            Err(error) => return Err(error),
        }
        if frozen.is_ok() {
            break;
        }
    }
    outcome
}

fn signal_all(path: &CgroupPath, pids: &[u32]) -> Result<(), CgroupError> {
    for &number in pids {
        let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else {
            continue;
        };
        match rustix::process::kill_process(pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(source) => {
                return Err(CgroupError::Signal {
                    path: path.clone(),
                    pid: number,
                    source,
                });
            }
        }
    }
    Ok(())
}

/// Freezes and waits until the kernel says that all are frozen.
pub(crate) fn freeze(tree: &Inner, path: &CgroupPath) -> Result<(), CgroupError> {
    let result = set_frozen(tree, path, true, FREEZE_READS);
    if matches!(result, Err(CgroupError::NotFrozen { .. })) {
        // A half-frozen container is worse than a running one.
        set_frozen(tree, path, false, 0)?;
    }
    result
}

/// Thaws; a cgroup that is not frozen is fine.
pub(crate) fn thaw(tree: &Inner, path: &CgroupPath) -> Result<(), CgroupError> {
    set_frozen(tree, path, false, 0)
}

/// Writes the wished state and reads the real one up to `reads` times.
fn set_frozen(
    tree: &Inner,
    path: &CgroupPath,
    frozen: bool,
    reads: u32,
) -> Result<(), CgroupError> {
    let (file, wish, state, is) = match (tree.version(), frozen) {
        (Version::V1, true) => ("freezer.state", "FROZEN", "freezer.state", "FROZEN"),
        (Version::V1, false) => ("freezer.state", "THAWED", "freezer.state", "THAWED"),
        (Version::V2, true) => ("cgroup.freeze", "1", "cgroup.events", "frozen 1"),
        (Version::V2, false) => ("cgroup.freeze", "0", "cgroup.events", "frozen 0"),
    };
    let Some(hierarchy) = tree.find("freezer") else {
        return Err(CgroupError::NoFreezer { path: path.clone() });
    };
    let missing = || CgroupError::NotFound { path: path.clone() };
    let name = |file: &str| format!("{}/{file}", path.relative());
    match file::write(hierarchy.root(), &name(file), wish) {
        Ok(()) => {}
        Err(Errno::NOENT | Errno::NODEV) => return Err(missing()),
        Err(source) => {
            return Err(CgroupError::Write {
                path: path.clone(),
                file,
                source,
            });
        }
    }
    for _ in 0..reads {
        match file::read(hierarchy.root(), &name(state)) {
            Ok(text) if text.lines().any(|line| line == is) => return Ok(()),
            Ok(_) => remove::wait_for_any(&[], BETWEEN_READS),
            Err(Errno::NOENT | Errno::NODEV) => return Err(missing()),
            Err(source) => {
                return Err(CgroupError::Read {
                    path: path.clone(),
                    file: state,
                    source,
                });
            }
        }
    }
    if reads == 0 {
        return Ok(());
    }
    Err(CgroupError::NotFrozen { path: path.clone() })
}
