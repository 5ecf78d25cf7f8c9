//! The file descriptors a program finds when it starts.

#![expect(unsafe_code, reason = "close_range has no safe wrapper")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Puts the three given files at 0, 1 and 2, where they survive `execve`.
///
/// # Errors
/// Fails when the limit of open files is reached.
pub fn place_stdio(
    stdin: BorrowedFd<'_>,
    stdout: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
) -> io::Result<()> {
    // Copies above 2 first, so that no step overwrites a file that a later one needs.
    let stdin = rustix::io::fcntl_dupfd_cloexec(stdin, 3)?;
    let stdout = rustix::io::fcntl_dupfd_cloexec(stdout, 3)?;
    let stderr = rustix::io::fcntl_dupfd_cloexec(stderr, 3)?;
    rustix::stdio::dup2_stdin(stdin.as_fd())?;
    rustix::stdio::dup2_stdout(stdout.as_fd())?;
    rustix::stdio::dup2_stderr(stderr.as_fd())?;
    Ok(())
}

/// Closes everything but 0, 1, 2 and `kept`, and returns `kept` as 3 and following, closed by `execve`.
///
/// Owners of other descriptors must never be dropped afterwards: this is for a process that ends in `execve` or `_exit`.
///
/// # Errors
/// Fails when the limit of open files is reached, and on kernels before 5.9.
pub fn keep_stdio_and<const N: usize>(kept: [OwnedFd; N]) -> io::Result<[OwnedFd; N]> {
    let mut next = FIRST_FREE;
    let above = FIRST_FREE + RawFd::try_from(N).unwrap_or(0);
    let mut copies = Vec::with_capacity(N);
    for fd in &kept {
        // Out of the way of every place below.
        copies.push(rustix::io::fcntl_dupfd_cloexec(fd, above)?);
    }
    for copy in &copies {
        // SAFETY: the numbers are valid or refused; whoever owned the place is never dropped, by this function's contract.
        let result = unsafe { libc::dup3(copy.as_raw_fd(), next, libc::O_CLOEXEC) };
        if result != next {
            return Err(io::Error::last_os_error());
        }
        next += 1;
    }
    close_range(above)?;
    // Closed by the line above, some of them overwritten.
    copies.into_iter().for_each(std::mem::forget);
    kept.into_iter().for_each(std::mem::forget);
    let mut place = FIRST_FREE;
    Ok(std::array::from_fn(|_| {
        place += 1;
        // SAFETY: open since the loop above, and nobody else will close it.
        unsafe { OwnedFd::from_raw_fd(place - 1) }
    }))
}

/// The first number after standard error.
const FIRST_FREE: RawFd = 3;

/// Closes every file descriptor, the standard ones too.
///
/// Owners of descriptors must never be dropped afterwards: this is for a process that lives on without any.
///
/// # Errors
/// Fails on kernels before 5.9.
pub fn close_all() -> io::Result<()> {
    close_range(0)
}

/// Keeps every descriptor above 2 that is open now from programs that are executed later.
///
/// What this program opens is kept from them anyway; what it was started with need not be.
///
/// # Errors
/// Fails on kernels before 5.11.
pub fn keep_descriptors_from_programs() -> io::Result<()> {
    range(FIRST_FREE, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: RawFd) -> io::Result<()> {
    range(first, 0)
}

fn range(first: RawFd, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: the call takes numbers only; that nobody uses descriptors that it closes afterwards is the callers' documented duty.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first.cast_unsigned(),
            libc::c_uint::MAX,
            flags,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
