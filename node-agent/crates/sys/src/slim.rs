//! A slim mount namespace: the root mount, the mounts that hold a few given directories, a procfs.
//!
//! Cloning a process with a new mount namespace copies the whole mount table of the cloner, which
//! on a busy host has thousands of entries. A process that entered a slim namespace first clones
//! at the same small price everywhere, and holds no mount of the host busy.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
};

use crate::pivot::{PivotError, pivot};

/// Why a slim mount namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum SlimError {
    /// A call failed.
    #[error("slim mount namespace could not be entered: {step} of {path} failed", path = path.display())]
    Step {
        /// The call that failed.
        step: &'static str,
        /// What it was about.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The host's root could not be exchanged for the slim one.
    #[error("slim mount namespace could not be entered: its root was not made the only one")]
    Pivot(#[source] PivotError),
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(Errno) -> SlimError {
    move |errno| SlimError::Step {
        step,
        path: path.to_owned(),
        source: errno.into(),
    }
}

/// Moves the calling process into a mount namespace of its own with nothing in it but the root
/// mount, every mount on the way to each of `kept`, and a fresh procfs.
///
/// The directories must exist; they are reachable by the same paths afterwards. Mounts below them
/// are not kept. The working directory becomes the root.
pub fn enter(kept: &[&Path]) -> Result<(), SlimError> {
    let root = Path::new("/");
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
        .map_err(|errno| failed("unshare", root)(Errno::from_raw_os_error(errno as i32)))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(failed("making private", root))?;

    // Cloned before anything moves, so that every path still means what it means on the host.
    let mut clones: Vec<(PathBuf, OwnedFd)> = Vec::new();
    for directory in kept {
        for point in mount_points(directory)? {
            if clones.iter().all(|(path, _)| *path != point) {
                let tree = clone_mount(&point)?;
                clones.push((point, tree));
            }
        }
    }
    let procfs = new_procfs()?;
    let root_tree = clone_mount(root)?;

    // Any directory serves as the place of the new root.
    let place = kept.first().copied().unwrap_or(Path::new("/proc"));
    attach(&root_tree, place)?;
    pivot(root_tree.as_fd()).map_err(SlimError::Pivot)?;

    for (path, tree) in &clones {
        attach(tree, path)?;
    }
    attach(&procfs, Path::new("/proc"))
}

/// Returns the mount points on the way from the root to `directory`, the root itself excepted.
fn mount_points(directory: &Path) -> Result<Vec<PathBuf>, SlimError> {
    let directory = std::fs::canonicalize(directory).map_err(|source| SlimError::Step {
        step: "resolving",
        path: directory.to_owned(),
        source,
    })?;
    let mut way: Vec<&Path> = directory.ancestors().collect();
    way.reverse();
    let mut points = Vec::new();
    let mut above = None;
    for path in way {
        let mount = mount_id(path)?;
        if above.is_some_and(|above| above != mount) {
            points.push(path.to_owned());
        }
        above = Some(mount);
    }
    Ok(points)
}

fn mount_id(path: &Path) -> Result<u64, SlimError> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(CWD, path, flags, StatxFlags::MNT_ID)
        .map(|status| status.stx_mnt_id)
        .map_err(failed("statx", path))
}

fn clone_mount(path: &Path) -> Result<OwnedFd, SlimError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, path, flags).map_err(failed("open_tree", path))
}

fn new_procfs() -> Result<OwnedFd, SlimError> {
    let path = Path::new("/proc");
    let context = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(failed("fsopen", path))?;
    rustix::mount::fsconfig_create(&context).map_err(failed("fsconfig", path))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(failed("fsmount", path))
}

fn attach(tree: &OwnedFd, path: &Path) -> Result<(), SlimError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", CWD, path, flags).map_err(failed("move_mount", path))
}
