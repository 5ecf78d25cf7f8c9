//! Signals by number, real-time ones too, to a process that a descriptor names.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Sends signal `number` to the process that `pidfd` names; 0 only asks whether it lives.
///
/// # Errors
/// `ESRCH` when the process has been reaped, `EINVAL` for a number that is no signal.
#[expect(unsafe_code, reason = "the safe wrappers know the named signals only")]
pub fn send(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    // SAFETY: the call takes three numbers and a null pointer, which it is made to accept.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::os::fd::AsFd as _;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    #[test]
    fn a_real_time_signal_arrives() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        send(pidfd.as_fd(), 0).unwrap();
        send(pidfd.as_fd(), libc::SIGRTMIN() + 3).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGRTMIN() + 3));
        let gone = send(pidfd.as_fd(), 0).unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn a_number_that_is_no_signal_is_refused() {
        let this = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).unwrap();
        let error = send(this.as_fd(), 1000).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
