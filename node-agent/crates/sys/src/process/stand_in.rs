//! A process that does nothing, for whoever must name one that exists.

#![expect(unsafe_code, reason = "fork has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions};

use super::leave;

/// A child that waits until this is dropped, or its maker ends, and then ends.
#[derive(Debug)]
pub struct StandIn {
    pid: Pid,
    /// The child reads the other end, and ends with it.
    held: Option<OwnedFd>,
}

impl StandIn {
    /// Makes one. The caller may have any number of threads: the child calls nothing that allocates
    /// or takes a lock.
    ///
    /// # Errors
    /// No pipe or no process is to be had.
    pub fn start() -> io::Result<Self> {
        let (read, held) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // SAFETY: the child goes on to `wait`, which makes system calls only and never returns.
        let forked = unsafe { libc::fork() };
        match forked {
            0 => wait(read.as_raw_fd()),
            child => Pid::from_raw(child)
                .filter(|_| child > 0)
                .map(|pid| Self {
                    pid,
                    held: Some(held),
                })
                .ok_or_else(io::Error::last_os_error),
        }
    }

    /// Returns its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        drop(self.held.take());
        let wait = || rustix::process::waitpid(Some(self.pid), WaitOptions::empty());
        // Somebody else has reaped it: what was wanted.
        let _ = rustix::io::retry_on_intr(wait);
    }
}

/// Gives up everything inherited and waits for the end of `read`.
fn wait(read: RawFd) -> ! {
    // SAFETY: duplicates a descriptor of this process's own table onto its standard input.
    unsafe { libc::dup2(read, 0) };
    // SAFETY: nobody in this process uses the descriptors closed here any more.
    unsafe { libc::syscall(libc::SYS_close_range, 1_u32, u32::MAX, 0_u32) };
    // SAFETY: gives the signal back its default meaning; the maker's handlers are not for a child.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_DFL) };
    let mut byte = 0_u8;
    loop {
        // SAFETY: the buffer is one byte of this stack.
        let read = unsafe { libc::read(0, (&raw mut byte).cast(), 1) };
        // Interrupted is the only failure that is not the end.
        if read == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            leave(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lives_as_long_as_it_is_held_and_holds_nothing_itself() {
        let stand_in = StandIn::start().unwrap();
        let directory = format!("/proc/{}", stand_in.pid());
        let other = StandIn::start().unwrap();
        drop(stand_in);
        assert!(!std::path::Path::new(&directory).exists());
        let fds = format!("/proc/{}/fd", other.pid());
        // It closes what it inherited some time after it was made; its end needs no descriptor of another.
        assert!(std::fs::read_dir(fds).unwrap().count() >= 1);
    }
}
