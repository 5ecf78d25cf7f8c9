//! The line between a process under construction and its maker.
//!
//! One packet a message. The maker's side believes nothing: a container that can trace its peers may come to hold the other end.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::failure::Failure;
use crate::request::ResolvedUser;
use crate::times::Times;

/// How long a process under construction may be silent.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Largest packet: the times, and the user with [`MAX_GROUPS`] groups.
const PACKET_CAP: usize = 40 + 4 * MAX_GROUPS;

/// Most supplementary groups a process can have is 65536; more than this no image asks for.
pub(crate) const MAX_GROUPS: usize = 4096;

/// Most descriptors beside a message.
const FD_CAP: usize = 4;

const TAG_READY: u8 = 1;
const TAG_FAILED: u8 = 2;
const TAG_BORN: u8 = 3;
const TAG_STANDING: u8 = 4;
const TAG_WARNED: u8 = 5;
const TAG_DONE: u8 = 6;

/// Why a maker lost touch with the process it makes.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// No socket could be made.
    #[error("no socket pair could be made")]
    Open(#[source] io::Error),
    /// Nothing could be sent.
    #[error("no message could be sent")]
    Send(#[source] io::Error),
    /// Nothing could be received.
    #[error("no message could be received")]
    Receive(#[source] io::Error),
    /// The process ended, or was killed, without a word.
    #[error("the process ended without a report")]
    Closed,
    /// The process hangs; it was killed.
    #[error("the process did not answer for 30 s")]
    Silent,
    /// The message is none that a process of ours sends.
    #[error("the process sent a malformed message")]
    Malformed,
}

impl ChannelError {
    /// Returns the kernel's error number, 0 if there is none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Open(source) | Self::Send(source) | Self::Receive(source) => {
                source.raw_os_error().unwrap_or(0)
            }
            Self::Closed | Self::Silent | Self::Malformed => 0,
        }
    }
}

/// What a process under construction reports.
#[derive(Debug)]
pub(crate) enum Report {
    /// Another process does the rest.
    Born { pid: i32, pidfd: OwnedFd },
    /// Everything stands. For an exec session: its program runs.
    Ready {
        /// Whom the program runs as.
        user: ResolvedUser,
        /// When the sender got how far.
        times: Times,
        /// The process that will execute the program, where it is not the sender.
        pid: i32,
        /// Handles, in the order they were sent.
        fds: Vec<OwnedFd>,
    },
    /// The container's namespaces and mounts stand; the sender waits before it enters its root.
    Standing,
    /// Something went wrong that changes nothing.
    Warned(Failure),
    /// All is done; for a container's start, its program runs since then: nanoseconds since the epoch.
    Done(i64),
    /// A step failed; the sender ends.
    Failed(Failure),
}

/// The maker's end.
#[derive(Debug)]
pub(crate) struct MakerEnd(OwnedFd);

/// The end of the process under construction.
#[derive(Debug)]
pub(crate) struct ChildEnd(OwnedFd);

/// Returns the two ends, both closed by `execve`.
pub(crate) fn open() -> Result<(MakerEnd, ChildEnd), ChannelError> {
    let (maker, child) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|error| ChannelError::Open(error.into()))?;
    Ok((MakerEnd(maker), ChildEnd(child)))
}

impl MakerEnd {
    /// Waits for a report; `None` when the other end was closed.
    pub(crate) fn receive(&self) -> Result<Option<Report>, ChannelError> {
        self.receive_within(PATIENCE)
    }

    /// Waits for a report of a process that may be silent for longer than others.
    pub(crate) fn receive_within(
        &self,
        patience: Duration,
    ) -> Result<Option<Report>, ChannelError> {
        self.wait(patience)?;
        let mut bytes = vec![0_u8; PACKET_CAP];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FD_CAP))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        );
        let length = match received {
            Ok(message) => message.bytes,
            // The other end was closed with something of ours unread.
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(error) => return Err(ChannelError::Receive(error.into())),
        };
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(sent) = message {
                fds.extend(sent);
            }
        }
        match bytes.get(..length) {
            None | Some([]) => Ok(None),
            Some([TAG_FAILED, rest @ ..]) => Failure::decode(rest)
                .map(|failure| Some(Report::Failed(failure)))
                .ok_or(ChannelError::Malformed),
            Some([TAG_READY, rest @ ..]) => decode_ready(rest)
                .map(|(times, pid, user)| {
                    Some(Report::Ready {
                        user,
                        times,
                        pid,
                        fds,
                    })
                })
                .ok_or(ChannelError::Malformed),
            Some([TAG_BORN, pid @ ..]) => born(pid, fds).map(Some).ok_or(ChannelError::Malformed),
            Some([TAG_STANDING]) => Ok(Some(Report::Standing)),
            Some([TAG_WARNED, rest @ ..]) => Failure::decode(rest)
                .map(|failure| Some(Report::Warned(failure)))
                .ok_or(ChannelError::Malformed),
            Some([TAG_DONE, time @ ..]) => <[u8; 8]>::try_from(time)
                .map(|time| Some(Report::Done(i64::from_le_bytes(time))))
                .map_err(|_| ChannelError::Malformed),
            Some(_) => Err(ChannelError::Malformed),
        }
    }

    /// Lets the waiting process go on.
    pub(crate) fn release(&self) -> Result<(), ChannelError> {
        rustix::net::send(&self.0, &[1], SendFlags::NOSIGNAL)
            .map(drop)
            .map_err(|error| ChannelError::Send(error.into()))
    }

    fn wait(&self, patience: Duration) -> Result<(), ChannelError> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let patience = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: 0,
        };
        loop {
            match poll(&mut fds, Some(&patience)) {
                Ok(0) => return Err(ChannelError::Silent),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(ChannelError::Receive(error.into())),
            }
        }
    }
}

impl ChildEnd {
    /// Reports that everything stands.
    pub(crate) fn ready(
        &self,
        user: &ResolvedUser,
        times: Times,
        pid: i32,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut bytes = vec![TAG_READY];
        times.encode(&mut bytes);
        bytes.extend_from_slice(&pid.to_le_bytes());
        bytes.extend_from_slice(&user.uid.to_le_bytes());
        bytes.extend_from_slice(&user.gid.to_le_bytes());
        for group in &user.groups {
            bytes.extend_from_slice(&group.to_le_bytes());
        }
        self.send(&bytes, fds)
    }

    /// Reports the process that does the rest.
    pub(crate) fn born(&self, pid: i32, pidfd: BorrowedFd<'_>) -> io::Result<()> {
        let mut bytes = vec![TAG_BORN];
        bytes.extend_from_slice(&pid.to_le_bytes());
        self.send(&bytes, &[pidfd])
    }

    /// Reports that namespaces and mounts stand.
    pub(crate) fn standing(&self) -> io::Result<()> {
        self.send(&[TAG_STANDING], &[])
    }

    /// Reports that all is done.
    pub(crate) fn done(&self, time: i64) -> io::Result<()> {
        let mut bytes = vec![TAG_DONE];
        bytes.extend_from_slice(&time.to_le_bytes());
        self.send(&bytes, &[])
    }

    /// Reports what went wrong and changes nothing.
    pub(crate) fn warned(&self, failure: &Failure) -> io::Result<()> {
        let mut bytes = vec![TAG_WARNED];
        failure.encode(&mut bytes);
        self.send(&bytes, &[])
    }

    fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FD_CAP))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sendmsg(
            &self.0,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// Reports a step that failed.
    pub(crate) fn failed(&self, failure: &Failure) {
        let mut bytes = vec![TAG_FAILED];
        failure.encode(&mut bytes);
        // `write`, because a seccomp filter in force may know no sockets. If the maker is gone, nobody is left to be told.
        let _ = rustix::io::write(&self.0, &bytes);
    }

    /// Waits until the maker says go; `false` when it is gone.
    pub(crate) fn wait_for_release(&self) -> bool {
        let mut byte = [0_u8; 1];
        loop {
            match rustix::io::read(&self.0, &mut byte) {
                Ok(length) => return length == 1,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
}

impl AsFd for MakerEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for ChildEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for MakerEnd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<ChildEnd> for OwnedFd {
    fn from(end: ChildEnd) -> Self {
        end.0
    }
}

impl From<OwnedFd> for ChildEnd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

fn born(pid: &[u8], fds: Vec<OwnedFd>) -> Option<Report> {
    Some(Report::Born {
        pid: i32::from_le_bytes(pid.try_into().ok()?),
        pidfd: fds.into_iter().next()?,
    })
}

fn decode_ready(bytes: &[u8]) -> Option<(Times, i32, ResolvedUser)> {
    let (times, bytes) = Times::decode(bytes)?;
    let (words, rest) = bytes.as_chunks::<4>();
    let [pid, uid, gid, groups @ ..] = words else {
        return None;
    };
    rest.is_empty().then(|| {
        let user = ResolvedUser {
            uid: u32::from_le_bytes(*uid),
            gid: u32::from_le_bytes(*gid),
            groups: groups
                .iter()
                .map(|group| u32::from_le_bytes(*group))
                .collect(),
        };
        (times, i32::from_le_bytes(*pid), user)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_reports_arrive_in_order() {
        let (maker, child) = open().unwrap();
        let warning = Failure::invalid("run", "a hook", "it is late");
        child.standing().unwrap();
        child.warned(&warning).unwrap();
        child.done(7).unwrap();
        assert!(matches!(maker.receive(), Ok(Some(Report::Standing))));
        let Ok(Some(Report::Warned(told))) = maker.receive() else {
            panic!("no warning");
        };
        assert_eq!(told.to_string(), warning.to_string());
        assert!(matches!(maker.receive(), Ok(Some(Report::Done(7)))));
    }

    #[test]
    fn a_report_arrives_with_its_descriptors() {
        let (maker, child) = open().unwrap();
        let user = ResolvedUser {
            uid: 7,
            gid: 8,
            groups: vec![9, u32::MAX],
        };
        let times = Times {
            begun: 0,
            born: 1,
            joined: -1,
            mounted: i64::MAX,
        };
        child
            .ready(&user, times, 42, &[child.as_fd(), child.as_fd()])
            .unwrap();
        let Some(Report::Ready {
            user: seen,
            times: heard,
            pid,
            fds,
        }) = maker.receive().unwrap()
        else {
            panic!("no report");
        };
        assert_eq!((seen, heard, pid, fds.len()), (user, times, 42, 2));
    }

    #[test]
    fn a_closed_end_is_no_report() {
        let (maker, child) = open().unwrap();
        drop(child);
        assert!(maker.receive().unwrap().is_none());
    }

    #[test]
    fn noise_is_refused() {
        let (maker, child) = open().unwrap();
        for noise in [&[TAG_READY, 1][..], &[TAG_FAILED], &[9, 9]] {
            rustix::io::write(&child.0, noise).unwrap();
            assert!(matches!(maker.receive(), Err(ChannelError::Malformed)));
        }
    }

    #[test]
    fn a_process_whose_maker_is_gone_is_not_released() {
        let (maker, child) = open().unwrap();
        maker.release().unwrap();
        assert!(child.wait_for_release());
        drop(maker);
        assert!(!child.wait_for_release());
    }
}
