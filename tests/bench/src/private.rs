//! Namespaces of the benchmark's own, so that whatever the peers make in the network, mount, or
//! write to the places they cannot be talked out of, is gone with them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use harness::command;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Where containerd, runc, crun and the CNI plugins write whatever their configuration says.
const SHARED_DIRECTORIES: [&str; 4] = ["/var/lib/cni", "/run/containerd", "/run/runc", "/run/crun"];

/// Directories that had to be made to be mounted over; dropping it removes them.
#[derive(Debug, Default)]
pub(crate) struct Private {
    made: Vec<PathBuf>,
}

/// Moves this process, which has one thread yet, into a network and a mount namespace of its own.
pub(crate) fn enter() -> Result<Private> {
    let mut private = Private::default();
    for directory in SHARED_DIRECTORIES.map(Path::new) {
        if !directory.exists() {
            std::fs::create_dir(directory)
                .with_context(|| format!("make {}", directory.display()))?;
            private.made.push(directory.to_owned());
        }
    }
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .context("unshare (are you root?)")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("make mounts private")?;
    for directory in SHARED_DIRECTORIES {
        mount(
            Some("bench"),
            directory,
            Some("tmpfs"),
            MsFlags::empty(),
            none,
        )
        .with_context(|| format!("mount a tmpfs on {directory}"))?;
    }
    command::run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    Ok(private)
}

impl Drop for Private {
    fn drop(&mut self) {
        for directory in &self.made {
            let _ = nix::mount::umount2(directory, nix::mount::MntFlags::MNT_DETACH);
            // Somebody else may use it by now; then it stays.
            let _ = std::fs::remove_dir(directory);
        }
    }
}
