//! The connection to an agent: requests in, replies and reports out, never waiting.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use agent_sys::fdpass::{Flush, FrameReader, FrameWriter, Read};
use prost::Message as _;
use proto_shim::{FdRole, FromShim, MAX_MESSAGE, Request, from_shim::Message};

use crate::descriptors::Descriptors;
use crate::error::RequestError;
use crate::poll::{Interest, Kind, Poll, Token};

/// Bytes that may wait for an agent that does not read; beyond that it is as good as gone.
const MAX_QUEUED: usize = 4 * MAX_MESSAGE;

/// The agent went away, or broke the protocol: the connection is to be closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// A request, and what came beside it.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) request: Request,
    /// The refusal, where roles and descriptors do not match.
    pub(crate) descriptors: Result<Descriptors, RequestError>,
}

/// One agent.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) serial: u32,
    socket: OwnedFd,
    reader: FrameReader,
    writer: FrameWriter,
    /// Whether the poll was asked to say when there is room.
    wants_room: bool,
}

impl Connection {
    /// Starts watching `socket`, which must not block.
    pub(crate) fn new(socket: OwnedFd, poll: &mut Poll) -> rustix::io::Result<Self> {
        let serial = poll.serial();
        poll.add(&socket, Token::new(Kind::Agent, serial), Interest::Readable)?;
        Ok(Self {
            serial,
            socket,
            reader: FrameReader::new(MAX_MESSAGE),
            writer: FrameWriter::new(MAX_MESSAGE),
            wants_room: false,
        })
    }

    /// Returns the next request; `None` when no whole one is there yet.
    pub(crate) fn next(&mut self) -> Result<Option<Received>, Gone> {
        match self.reader.read(self.socket.as_fd()) {
            Ok(Read::Frame(frame)) => {
                let request = Request::decode(frame.body.as_slice()).map_err(|_| Gone)?;
                let descriptors = Descriptors::new(&request.fds, frame.fds);
                Ok(Some(Received {
                    request,
                    descriptors,
                }))
            }
            Ok(Read::Pending) => Ok(None),
            Ok(Read::Closed) | Err(_) => Err(Gone),
        }
    }

    /// Sends a message, or keeps it until there is room.
    pub(crate) fn send(
        &mut self,
        message: Message,
        fds: Vec<(FdRole, OwnedFd)>,
        poll: &Poll,
    ) -> Result<(), Gone> {
        let (roles, fds): (Vec<FdRole>, Vec<OwnedFd>) = fds.into_iter().unzip();
        let message = FromShim {
            fds: roles.into_iter().map(i32::from).collect(),
            message: Some(message),
        };
        let encode = |bytes: &mut Vec<u8>| {
            let encoded = message.encode(bytes);
            debug_assert!(encoded.is_ok(), "a Vec has room");
        };
        self.writer
            .push_with(message.encoded_len(), fds, encode)
            .map_err(|_| Gone)?;
        if self.writer.queued() > MAX_QUEUED {
            return Err(Gone);
        }
        self.flush(poll)
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self, poll: &Poll) -> Result<(), Gone> {
        let flushed = self.writer.flush(self.socket.as_fd()).map_err(|_| Gone)?;
        let wants_room = flushed == Flush::Blocked;
        if wants_room != self.wants_room {
            self.wants_room = wants_room;
            let interest = if wants_room {
                Interest::Both
            } else {
                Interest::Readable
            };
            let token = Token::new(Kind::Agent, self.serial);
            poll.modify(&self.socket, token, interest)
                .map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Closes once everything sent is with the kernel, or after a second.
    pub(crate) fn close_flushed(mut self, poll: &Poll) {
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut ready = Vec::new();
        while self.writer.queued() > 0 && Instant::now() < deadline {
            ready.clear();
            if poll.wait(Some(deadline), &mut ready).is_err() || self.flush(poll).is_err() {
                break;
            }
        }
        self.close(poll);
    }

    /// Stops watching and closes.
    pub(crate) fn close(self, poll: &Poll) {
        poll.remove(&self.socket);
    }
}
