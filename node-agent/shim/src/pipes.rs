//! Small doors to pipes and processes, shared by containers, sessions and attach clients.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::WaitIdStatus;

/// What one read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// Bytes were read.
    Bytes(usize),
    /// Nothing now.
    Empty,
    /// Nobody can write any more.
    End,
}

/// Reads once into `buffer`, in place of what it held.
pub(crate) fn read(fd: impl AsFd, buffer: &mut Vec<u8>) -> ReadOutcome {
    loop {
        buffer.clear();
        match rustix::io::read(&fd, rustix::buffer::spare_capacity(buffer)) {
            Ok(0) => return ReadOutcome::End,
            Ok(count) => return ReadOutcome::Bytes(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return ReadOutcome::Empty,
            // EIO is how a terminal says that nobody has its other side open.
            Err(_) => return ReadOutcome::End,
        }
    }
}

/// What one write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// That many bytes were taken; fewer than given when there is no more room.
    Taken(usize),
    /// Nobody can read any more.
    Broken,
}

/// Writes as much of `bytes` as there is room for.
pub(crate) fn write(fd: impl AsFd, bytes: &[u8]) -> WriteOutcome {
    let mut taken = 0;
    while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
        match rustix::io::write(&fd, rest) {
            Ok(count) => taken += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(_) => return WriteOutcome::Broken,
        }
    }
    WriteOutcome::Taken(taken)
}

/// Makes reads and writes return instead of waiting.
pub(crate) fn set_nonblocking(fd: &OwnedFd) -> rustix::io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}

/// A pipe whose side on ours does not block.
pub(crate) struct HalfPipe {
    pub(crate) ours: OwnedFd,
    pub(crate) theirs: OwnedFd,
}

/// Returns a pipe that we read from.
pub(crate) fn output_pipe() -> rustix::io::Result<HalfPipe> {
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    set_nonblocking(&ours)?;
    Ok(HalfPipe { ours, theirs })
}

/// Returns a pipe that we write to.
pub(crate) fn input_pipe() -> rustix::io::Result<HalfPipe> {
    let (theirs, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    set_nonblocking(&ours)?;
    Ok(HalfPipe { ours, theirs })
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    /// As a shell reports it.
    pub(crate) code: i32,
    /// 0 unless a signal ended it.
    pub(crate) signal: i32,
}

impl Status {
    pub(crate) const fn exited(code: i32) -> Self {
        Self { code, signal: 0 }
    }

    pub(crate) const fn signalled(signal: i32) -> Self {
        Self {
            code: 128 + signal,
            signal,
        }
    }
}

impl From<WaitIdStatus> for Status {
    fn from(status: WaitIdStatus) -> Self {
        match status.terminating_signal() {
            Some(signal) => Self::signalled(signal),
            None => Self::exited(status.exit_status().unwrap_or(255)),
        }
    }
}

impl From<rustix::process::WaitStatus> for Status {
    fn from(status: rustix::process::WaitStatus) -> Self {
        match status.terminating_signal() {
            Some(signal) => Self::signalled(signal),
            None => Self::exited(status.exit_status().unwrap_or(255)),
        }
    }
}

/// Waits for the end of a process that is about to end; `None` if somebody has waited already.
pub(crate) fn wait_for(pidfd: &OwnedFd) -> Option<Status> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => return Some(status.into()),
            Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}
