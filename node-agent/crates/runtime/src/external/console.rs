//! The socket on which a runtime hands over a terminal.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::short_path;
use crate::failure::Failure;

/// A socket that one terminal comes by.
#[derive(Debug)]
pub(crate) struct Console {
    listener: UnixListener,
    path: String,
}

impl Console {
    /// Listens in a directory of the container's.
    pub(crate) fn listen(place: &OwnedFd, name: &str) -> Result<Self, Failure> {
        let path = short_path(place, name);
        let listener = UnixListener::bind(&path)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| Failure::io("listen", "for a terminal", error))?;
        Ok(Self { listener, path })
    }

    /// Returns where to connect to.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Takes the terminal; the runtime has sent it before it ended.
    pub(crate) fn accept(&self) -> Result<OwnedFd, Failure> {
        let failed = |error: std::io::Error| Failure::io("receive", "a terminal", error);
        let (stream, _) = self.listener.accept().map_err(failed)?;
        stream.set_nonblocking(true).map_err(failed)?;
        // The name of the terminal comes along, of any length.
        let mut bytes = [0_u8; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        recvmsg(
            stream.as_fd(),
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
        .map_err(|error| failed(error.into()))?;
        let received = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        received.ok_or_else(|| Failure::invalid("receive", "a terminal", "none was sent"))
    }
}
