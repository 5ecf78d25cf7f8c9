//! A shim forked ahead of need, with the namespaces that almost every sandbox asks for.
//!
//! Forking and making them depends on nothing in the request; a network namespace, the dearest of
//! all (0.35 to 0.9 ms), is made ahead by the agent, with the links in it. The launcher hands the next fitting request to its spare as it
//! came, and makes another when it has nothing else to do. A spare that is not needed ends with
//! its launcher, and its namespaces with it.

use std::os::fd::{AsFd as _, OwnedFd};

use agent_sys::fdpass::{Frame, FrameReader, FrameWriter, Read};
use proto_shim::MAX_MESSAGE;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::namespaces::NewNamespaces;

/// The launcher's end of a spare.
#[derive(Debug)]
pub(crate) struct Spare {
    socket: OwnedFd,
}

impl Spare {
    /// Returns both ends of what ties a spare to its launcher.
    pub(crate) fn pair() -> rustix::io::Result<(Self, OwnedFd)> {
        let (socket, end) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self { socket }, end))
    }

    /// Returns whether the spare still waits: it never says anything, and only its end is heard.
    pub(crate) fn waits(&self) -> bool {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        matches!(
            rustix::event::poll(&mut fds, Some(&Timespec::default())),
            Ok(0)
        )
    }

    /// Gives the spare its request; from then on it is a shim like any other.
    ///
    /// One that dies at this very moment is seen by the agent, whose socket is among the
    /// descriptors: it is closed.
    pub(crate) fn hand_over(self, frame: Frame) {
        let mut writer = FrameWriter::new(MAX_MESSAGE);
        if writer.push(&frame.body, frame.fds).is_ok() {
            let _ = writer.flush(self.socket.as_fd());
        }
    }
}

/// Makes the namespaces and waits for a request; `None` when the launcher ended, or nothing could
/// be made: the launcher then forks on demand, and the agent is told why.
pub(crate) fn stand_by(socket: &OwnedFd) -> Option<(Frame, NewNamespaces)> {
    rustix::thread::set_name(c"shim-spare").ok()?;
    let namespaces = NewNamespaces::make(NewNamespaces::SPARE).ok()?;
    match FrameReader::new(MAX_MESSAGE).read(socket.as_fd()) {
        Ok(Read::Frame(frame)) => Some((frame, namespaces)),
        Ok(Read::Closed | Read::Pending) | Err(_) => None,
    }
}
