//! The first message of a connection.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use agent_sys::fdpass::{Flush, Frame, FrameError, FrameReader, FrameWriter, Read};
use prost::Message as _;
use proto_shim::{FdRole, FromShim, MAX_MESSAGE, from_shim, reply};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;

use crate::convert::{self, Descriptors};
use crate::error::HandshakeError;
use crate::report::{ContainerReport, Ready};

/// A socket that the runtime watches.
pub(crate) type Socket = AsyncFd<OwnedFd>;

/// Has the runtime watch a descriptor.
#[expect(
    deprecated,
    reason = "unsound only for types whose AsRawFd lies; an OwnedFd's does not, and the successor is unsafe to call"
)]
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}

/// Returns two connected sockets, the first for this process.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

/// Waits for the next frame.
pub(crate) async fn receive(
    socket: &Socket,
    reader: &mut FrameReader,
) -> Result<Frame, HandshakeError> {
    loop {
        let mut guard = socket
            .readable()
            .await
            .map_err(|source| HandshakeError::Socket { source })?;
        match reader.read(socket.get_ref().as_fd()) {
            Ok(Read::Frame(frame)) => return Ok(frame),
            Ok(Read::Pending) => guard.clear_ready(),
            Ok(Read::Closed) | Err(FrameError::CutOff) => return Err(HandshakeError::Closed),
            Err(source) => return Err(HandshakeError::Frame { source }),
        }
    }
}

/// Writes everything that is queued. Cancelled half-way, it goes on where it was.
pub(crate) async fn flush(socket: &Socket, writer: &mut FrameWriter) -> Result<(), FrameError> {
    while writer.flush(socket.get_ref().as_fd())? == Flush::Blocked {
        let mut guard = socket
            .writable()
            .await
            .map_err(|source| FrameError::Send { source })?;
        guard.clear_ready();
    }
    Ok(())
}

/// Waits for what a shim says first.
pub(crate) async fn ready(
    socket: &Socket,
    reader: &mut FrameReader,
    patience: Duration,
) -> Result<Ready, HandshakeError> {
    let frame = tokio::time::timeout(patience, receive(socket, reader))
        .await
        .map_err(|_| HandshakeError::TimedOut {
            seconds: patience.as_secs(),
        })??;
    let message = FromShim::decode(frame.body.as_slice())
        .map_err(|_| HandshakeError::Message { what: "no message" })?;
    let ready = match message.message {
        Some(from_shim::Message::Ready(ready)) => ready,
        Some(from_shim::Message::Reply(reply)) => match reply.result {
            Some(reply::Result::Ready(ready)) => ready,
            Some(reply::Result::Error(error)) => return Err(refused(error)),
            _ => {
                return Err(HandshakeError::Message {
                    what: "another reply",
                });
            }
        },
        Some(from_shim::Message::Failed(error)) => return Err(refused(error)),
        _ => return Err(HandshakeError::Message { what: "an event" }),
    };
    let descriptors = pair_up(&message.fds, frame.fds);
    from_wire(ready, descriptors)
}

/// Turns a refusal on the wire into an error.
pub(crate) fn refused(error: proto_shim::Error) -> HandshakeError {
    HandshakeError::Refused {
        refusal: error.code().into(),
        errno: error.errno,
        message: error.message,
    }
}

/// Pairs descriptors with their roles; what a newer shim sends beside is dropped.
pub(crate) fn pair_up(roles: &[i32], fds: Vec<OwnedFd>) -> Descriptors {
    roles
        .iter()
        .zip(fds)
        .filter_map(|(role, fd)| Some((FdRole::try_from(*role).ok()?, fd)))
        .collect()
}

/// Takes the descriptor with `role`.
pub(crate) fn take(descriptors: &mut Descriptors, role: FdRole) -> Option<OwnedFd> {
    let index = descriptors.iter().position(|(has, _)| *has == role)?;
    Some(descriptors.swap_remove(index).1)
}

fn from_wire(
    ready: proto_shim::Ready,
    mut descriptors: Descriptors,
) -> Result<Ready, HandshakeError> {
    let containers = ready
        .containers
        .into_iter()
        .map(ContainerReport::try_from)
        .collect::<Result<_, _>>()
        .map_err(|_| HandshakeError::Message {
            what: "a container id that is none",
        })?;
    Ok(Ready {
        pid: convert::pid(ready.pid),
        pidfd: take(&mut descriptors, FdRole::ShimPidfd).ok_or(HandshakeError::Message {
            what: "no pidfd of the shim",
        })?,
        netns: take(&mut descriptors, FdRole::NetworkNamespace),
        netlink: take(&mut descriptors, FdRole::NetlinkSocket),
        user_namespace: take(&mut descriptors, FdRole::UserNamespace),
        reaper_pid: Some(convert::pid(ready.reaper_pid)).filter(|pid| *pid > 0),
        protocol_version: ready.protocol_version,
        containers,
    })
}

/// Returns a reader with the protocol's limit.
pub(crate) const fn reader() -> FrameReader {
    FrameReader::new(MAX_MESSAGE)
}
