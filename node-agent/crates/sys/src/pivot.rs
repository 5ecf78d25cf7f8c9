//! Making a mount the root of the calling mount namespace, with nothing of the old root left.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, statx};
use rustix::mount::UnmountFlags;

/// Why a root could not be made the only one.
#[derive(Debug, thiserror::Error)]
pub enum PivotError {
    /// The new root was refused.
    #[error("new root could not be entered")]
    Enter(#[source] io::Error),
    /// It could not be told which mount is on top.
    #[error("mount of a root could not be identified")]
    Identify(#[source] io::Error),
    /// The old root stayed.
    #[error("old root could not be left")]
    Leave(#[source] io::Error),
    /// Mount lay over mount, and under the last one that was taken away another.
    #[error("old root could not be left: more than {STACK_CAP} mounts lie over it")]
    Stacked,
}

/// Most mounts on top of each other over the old root.
const STACK_CAP: usize = 64;

/// Makes `root`, an attached mount, the root of this mount namespace and lets go of everything else. It is also the working
/// directory afterwards.
///
/// # Errors
/// Fails when `root` is not the root of an attached mount, when mounts propagate to or from others, without `CAP_SYS_ADMIN`, or
/// when the old root will not go: the namespace is of no use then.
pub fn pivot(root: BorrowedFd<'_>) -> Result<(), PivotError> {
    let refused = |errno: rustix::io::Errno| PivotError::Enter(errno.into());
    rustix::process::fchdir(root).map_err(refused)?;
    rustix::process::pivot_root(".", ".").map_err(refused)?;
    // The old root now lies on top of the new one, and on top of it whatever the caller had there. A mount that stayed would be
    // what `/..` leads to, and the root of every process that joins this namespace.
    for _ in 0..STACK_CAP {
        if mount_id(root)? == top_mount_id()? {
            return rustix::process::chdir("/").map_err(refused);
        }
        rustix::mount::unmount(".", UnmountFlags::DETACH)
            .map_err(|errno| PivotError::Leave(errno.into()))?;
    }
    Err(PivotError::Stacked)
}

/// Returns the id of the topmost mount over the root: a step up from the root goes nowhere, but ends on top.
fn top_mount_id() -> Result<u64, PivotError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open("/..", flags, Mode::empty())
        .map_err(|errno| PivotError::Identify(errno.into()))?;
    mount_id(top.as_fd())
}

fn mount_id(file: BorrowedFd<'_>) -> Result<u64, PivotError> {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        .map_err(|errno| PivotError::Identify(errno.into()))?;
    Ok(found.stx_mnt_id)
}
