//! Containers that another OCI runtime makes: runc, crun, or any program with their command line.
//!
//! Owns: what such a runtime is given (a bundle, a root file system, a specification that fits the
//! sandbox), its command line, and the handle on what it has made. Does not: know what the shim does
//! with a container, which is the same as for one of ours.
//!
//! ```text
//! create:  shim ──fork──▶ keeper: a copy of the host's mounts, the root and the volumes in it
//!                          └─▶ runtime create ──▶ container's process, which becomes the shim's child
//! start:   shim ──fork──▶ in the same mounts: runtime start
//! ```
//!
//! **Nobody waits for a runtime** but a keeper: what a runtime is asked is begun, followed by a
//! descriptor that becomes readable, and then finished. Until then the caller must not wait for
//! children that it does not know: what a runtime leaves behind may have ended already, and is found
//! by its number.
//!
//! The mounts are seen by nobody else, and are gone with the last descriptor of their namespace.
//! A program that does not exist is told when it is started, as with the embedded runtime: then no
//! container is made, and the keeper waits in its place.
//!
//! Start reading at [`create()`], then `init/keeper.rs`.

mod config;
mod console;
mod container;
mod create;
mod invoke;

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

pub(crate) use config::{Places, rewrite};
pub(crate) use console::Console;
pub use container::{Deletion, Execution};
pub use create::create;
pub use invoke::Run;
pub(crate) use invoke::{Invocation, Streams};

use crate::failure::{Failure, FailureKind};

/// How another runtime makes a container.
#[derive(Debug, Clone, Copy)]
pub struct ExternalRequest<'a> {
    /// The runtime's program.
    pub program: &'a Path,
    /// The container's id.
    pub id: &'a str,
    /// An absolute directory of the container's own, which is there.
    pub bundle: &'a Path,
    /// The host's mount namespace.
    pub mounts: BorrowedFd<'a>,
    /// How long one run of it may take: [`Run::PATIENCE`], and what the container's hooks may.
    pub patience: Duration,
}

/// A container that another runtime has made.
#[derive(Debug)]
pub struct External {
    pub(crate) program: PathBuf,
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    /// How long one run of the program may take.
    pub(crate) patience: Duration,
    /// Where its root and volumes are mounted.
    pub(crate) mounts: OwnedFd,
    /// Sessions so far: each has files of its own.
    pub(crate) sessions: AtomicU32,
}

/// Reads the process id that a runtime has written.
pub(crate) fn read_pid(path: &Path) -> Result<i32, Failure> {
    let shown = || path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::io("read", shown(), error))?;
    let pid: Option<i32> = text.trim().parse().ok().filter(|pid| *pid > 1);
    let none = "it is not a process id";
    pid.ok_or_else(|| Failure::invalid("read", shown(), none).of_kind(FailureKind::Internal))
}

/// Returns a handle on a process that is our descendant, or was.
pub(crate) fn pidfd_of(pid: i32) -> Result<OwnedFd, Failure> {
    let failed = |error| Failure::io("find", format!("process {pid}"), error);
    let known = Pid::from_raw(pid).ok_or_else(|| failed(rustix::io::Errno::SRCH))?;
    pidfd_open(known, PidfdFlags::empty()).map_err(failed)
}

fn directory(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| Failure::io("open", path.display().to_string(), error))
}

/// Returns a short path to a file in a directory that this process has open: socket addresses have
/// no room for long ones.
pub(crate) fn short_path(place: &OwnedFd, name: &str) -> String {
    let us = rustix::process::getpid().as_raw_nonzero();
    format!("/proc/{us}/fd/{}/{name}", place.as_raw_fd())
}
