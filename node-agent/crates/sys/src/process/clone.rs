//! `clone3` as a fork: the child goes on with a copy of the caller's memory.

#![expect(unsafe_code, reason = "clone3 as fork has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::thread::UnshareFlags;

/// Why a process could not be forked.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// A copy of a process with threads may find locks that nobody will release.
    #[error("only a process with a single thread can be forked")]
    Threads(#[source] io::Error),
    /// The kernel refused.
    #[error("the process could not be cloned")]
    Clone(#[source] io::Error),
}

impl ForkError {
    /// Returns the kernel's error number, 0 if there is none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        let (Self::Threads(source) | Self::Clone(source)) = self;
        source.raw_os_error().unwrap_or(0)
    }
}

/// Whose child the new process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The caller's.
    Child,
    /// The caller's parent's (`CLONE_PARENT`).
    Sibling,
}

/// What the new process starts with.
#[derive(Debug, Clone, Copy)]
pub struct Fork<'a> {
    /// Namespaces made new for it.
    pub new: UnshareFlags,
    /// A cgroup v2 directory that it is born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whose child it is.
    pub relation: Relation,
}

/// A process just forked, as its maker sees it.
#[derive(Debug)]
pub struct Child {
    /// Its id in the caller's PID namespace.
    pub pid: i32,
    /// A handle that stays valid whatever happens to the id.
    pub pidfd: OwnedFd,
}

/// Which of the two processes returns from [`fork`].
#[derive(Debug)]
pub enum Forked {
    /// The one that called.
    Parent(Child),
    /// The new one.
    Child,
}

/// `struct clone_args`, first 88 bytes (`CLONE_ARGS_SIZE_VER2`).
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks the calling process; both return.
///
/// # Errors
/// Fails when the process has other threads, or when the kernel refuses.
pub fn fork(options: &Fork<'_>) -> Result<Forked, ForkError> {
    require_single_thread().map_err(ForkError::Threads)?;
    let mut pidfd: RawFd = -1;
    let flags = u64::from(options.new.bits())
        | u64::from(libc::CLONE_PIDFD.cast_unsigned())
        | match options.relation {
            Relation::Child => 0,
            Relation::Sibling => u64::from(libc::CLONE_PARENT.cast_unsigned()),
        };
    let mut arguments = CloneArguments {
        flags,
        pidfd: (&raw mut pidfd).addr() as u64,
        // A sibling takes over its maker's exit signal; naming one is refused.
        exit_signal: match options.relation {
            Relation::Child => u64::from(libc::SIGCHLD.cast_unsigned()),
            Relation::Sibling => 0,
        },
        ..CloneArguments::default()
    };
    if let Some(directory) = options.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(directory.as_raw_fd().cast_unsigned());
    }
    // SAFETY: `arguments` is a valid `clone_args` of the size given, and `pidfd` outlives the call. Without CLONE_VM the child has
    // its own copy of memory, and the caller has no other thread, so nothing in that copy is locked or half written.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<CloneArguments>(),
        )
    };
    let pid = match pid {
        -1 if options.cgroup.is_none() && is_unknown() => clone_2(&arguments, &mut pidfd),
        pid => pid,
    };
    match i32::try_from(pid) {
        Ok(0) => Ok(Forked::Child),
        Ok(pid) if pid > 0 => {
            // SAFETY: the kernel stored a new file descriptor there, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent(Child { pid, pidfd }))
        }
        _ => Err(ForkError::Clone(io::Error::last_os_error())),
    }
}

/// A seccomp filter cannot look into `clone3`'s arguments, so many answer that the kernel does not have it.
fn is_unknown() -> bool {
    io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS)
}

/// The same with `clone`, whose second to fifth argument differ in order from machine to machine.
fn clone_2(arguments: &CloneArguments, pidfd: &mut RawFd) -> libc::c_long {
    let flags = arguments.flags | arguments.exit_signal;
    let none = 0_usize;
    // SAFETY: as for `clone3`; a stack of 0 keeps the caller's. The pidfd is stored through the third argument on every machine
    // that Rust's Linux targets have, and thread-local storage is left alone without CLONE_SETTLS.
    unsafe { libc::syscall(libc::SYS_clone, flags, none, &raw mut *pidfd, none, none) }
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Ends the calling process at once, running no destructor and no exit handler.
pub fn leave(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// `unshare` of what only threads share does nothing, and is refused to a process that has several.
fn require_single_thread() -> io::Result<()> {
    // SAFETY: with CLONE_THREAD alone the call changes nothing.
    let result = unsafe { libc::unshare(libc::CLONE_THREAD) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // The kernel says EINVAL. This is a seccomp filter's word, and a filter is only ever in force in a process
        // that was forked here, with one thread.
        Some(libc::EPERM | libc::ENOSYS) => Ok(()),
        _ => Err(error),
    }
}
