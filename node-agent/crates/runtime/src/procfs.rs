//! One procfs for all exec sessions.
//!
//! A procfs of a session's own costs a file system, and to throw it away the kernel waits for every
//! processor. Whoever forks shims makes one ahead, and everything forked from it inherits that.

use std::sync::OnceLock;

use agent_sys::mount::FilesystemError;
use agent_sys::procfs::Procfs;

static PROCFS: OnceLock<Procfs> = OnceLock::new();

/// Makes the procfs that sessions of this process, and of those it forks from now on, use to set what
/// can only be set there. Without it, each session makes one of its own.
///
/// # Errors
/// Fails without `CAP_SYS_ADMIN`.
pub fn keep_procfs() -> Result<(), FilesystemError> {
    if PROCFS.get().is_none() {
        // Whoever was faster has made the same.
        let _ = PROCFS.set(Procfs::detached()?);
    }
    Ok(())
}

/// Returns it, if it was made.
pub(crate) fn inherited() -> Option<&'static Procfs> {
    PROCFS.get()
}
