//! Frames with file descriptors on a unix stream socket.
//!
//! A frame is 4 bytes little-endian length and that many bytes of body; descriptors ride on its
//! first byte. The reader never asks the kernel for more than the rest of one frame, so that
//! descriptors always belong to the frame being read.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// Most descriptors one frame can carry: the kernel's `SCM_MAX_FD`.
pub const MAX_FDS: usize = 253;

const HEADER: usize = 4;

/// Why a frame could not be sent or received; the connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The kernel refused to read.
    #[error("frame could not be received")]
    Receive {
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The kernel refused to write.
    #[error("frame could not be sent")]
    Send {
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A length above the limit.
    #[error("frame of {length} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// Length announced or asked for.
        length: usize,
        /// The reader's or writer's limit.
        limit: usize,
    },
    /// More than [`MAX_FDS`] descriptors.
    #[error("{count} descriptors do not fit in one frame")]
    TooManyDescriptors {
        /// How many were given.
        count: usize,
    },
    /// The kernel dropped descriptors, because this process has too many open.
    #[error("descriptors of a frame were lost: too many open files")]
    DescriptorsLost,
    /// The peer went away in the middle of a frame.
    #[error("connection ended inside a frame")]
    CutOff,
}

/// A complete frame.
#[derive(Debug)]
pub struct Frame {
    /// The message.
    pub body: Vec<u8>,
    /// What came beside it, in order.
    pub fds: Vec<OwnedFd>,
}

/// What one call of [`FrameReader::read`] came to.
#[derive(Debug)]
pub enum Read {
    /// A whole frame.
    Frame(Frame),
    /// The socket has nothing more now; what was read so far is kept.
    Pending,
    /// The peer closed the connection between two frames.
    Closed,
}

/// Reassembles frames from a stream socket.
#[derive(Debug)]
pub struct FrameReader {
    limit: usize,
    header: [u8; HEADER],
    header_filled: usize,
    body: Vec<u8>,
    body_filled: usize,
    fds: Vec<OwnedFd>,
}

impl FrameReader {
    /// Returns a reader that refuses bodies above `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            header: [0; HEADER],
            header_filled: 0,
            body: Vec::new(),
            body_filled: 0,
            fds: Vec::new(),
        }
    }

    /// Reads until a frame is complete or the socket would block.
    pub fn read(&mut self, socket: BorrowedFd<'_>) -> Result<Read, FrameError> {
        while self.header_filled < HEADER {
            let rest = &mut self.header[self.header_filled..];
            match receive(socket, rest, &mut self.fds)? {
                None => return Ok(Read::Pending),
                Some(0) if self.header_filled == 0 => return Ok(Read::Closed),
                Some(0) => return Err(FrameError::CutOff),
                Some(count) => self.header_filled += count,
            }
            if self.header_filled == HEADER {
                let length = u32::from_le_bytes(self.header) as usize;
                if length > self.limit {
                    return Err(FrameError::TooLarge {
                        length,
                        limit: self.limit,
                    });
                }
                self.body = vec![0; length];
                self.body_filled = 0;
            }
        }
        while self.body_filled < self.body.len() {
            let rest = &mut self.body[self.body_filled..];
            match receive(socket, rest, &mut self.fds)? {
                None => return Ok(Read::Pending),
                Some(0) => return Err(FrameError::CutOff),
                Some(count) => self.body_filled += count,
            }
        }
        self.header_filled = 0;
        Ok(Read::Frame(Frame {
            body: std::mem::take(&mut self.body),
            fds: std::mem::take(&mut self.fds),
        }))
    }
}

/// Receives up to `buffer.len()` bytes; `None` when the socket would block.
fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> Result<Option<usize>, FrameError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut parts = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            // The peer is gone with bytes of ours unread: to us the same as a plain end.
            Err(Errno::CONNRESET) => return Ok(Some(0)),
            Err(errno) => {
                return Err(FrameError::Receive {
                    source: errno.into(),
                });
            }
        }
    };
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(FrameError::DescriptorsLost);
    }
    Ok(Some(message.bytes))
}

/// What [`FrameWriter::flush`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Everything is with the kernel.
    Done,
    /// The socket is full; call again when it can be written.
    Blocked,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// Queues frames and writes them as the socket takes them.
#[derive(Debug)]
pub struct FrameWriter {
    limit: usize,
    queue: VecDeque<Outgoing>,
    /// Bytes of the first frame that were sent.
    sent: usize,
    queued: usize,
}

impl FrameWriter {
    /// Returns a writer that refuses bodies above `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            queue: VecDeque::new(),
            sent: 0,
            queued: 0,
        }
    }

    /// Queues a frame of `length` bytes that `encode` appends to the buffer it is given.
    ///
    /// Lets the caller encode behind the header, without a copy.
    pub fn push_with(
        &mut self,
        length: usize,
        fds: Vec<OwnedFd>,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), FrameError> {
        if fds.len() > MAX_FDS {
            return Err(FrameError::TooManyDescriptors { count: fds.len() });
        }
        let too_large = FrameError::TooLarge {
            length,
            limit: self.limit,
        };
        let header = match u32::try_from(length) {
            Ok(header) if length <= self.limit => header.to_le_bytes(),
            _ => return Err(too_large),
        };
        let mut bytes = Vec::with_capacity(HEADER + length);
        bytes.extend_from_slice(&header);
        encode(&mut bytes);
        debug_assert_eq!(bytes.len(), HEADER + length, "encoded length");
        self.queued += bytes.len();
        self.queue.push_back(Outgoing { bytes, fds });
        Ok(())
    }

    /// Queues a frame with the given body.
    pub fn push(&mut self, body: &[u8], fds: Vec<OwnedFd>) -> Result<(), FrameError> {
        self.push_with(body.len(), fds, |bytes| bytes.extend_from_slice(body))
    }

    /// Returns how many bytes wait to be sent.
    #[must_use]
    pub const fn queued(&self) -> usize {
        self.queued
    }

    /// Writes until the queue is empty or the socket would block.
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<Flush, FrameError> {
        while let Some(first) = self.queue.front_mut() {
            match send(socket, &first.bytes[self.sent..], &first.fds)? {
                None => return Ok(Flush::Blocked),
                Some(count) => {
                    // They travelled with the first byte.
                    first.fds.clear();
                    self.sent += count;
                    self.queued -= count;
                    if self.sent == first.bytes.len() {
                        self.queue.pop_front();
                        self.sent = 0;
                    }
                }
            }
        }
        // An idle connection keeps no buffer.
        self.queue.shrink_to_fit();
        Ok(Flush::Done)
    }
}

/// Sends bytes and descriptors; `None` when the socket would block.
fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[OwnedFd],
) -> Result<Option<usize>, FrameError> {
    let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(FrameError::TooManyDescriptors {
            count: borrowed.len(),
        });
    }
    loop {
        let parts = [IoSlice::new(bytes)];
        return match rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL) {
            Ok(count) => Ok(Some(count)),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(FrameError::Send {
                source: errno.into(),
            }),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap()
    }

    fn inode(fd: &OwnedFd) -> u64 {
        rustix::fs::fstat(fd).unwrap().st_ino
    }

    #[test]
    fn descriptors_stay_with_their_frame() {
        let (left, right) = pair();
        let (a, b) = pair();
        let expected = (inode(&a), inode(&b));
        let mut writer = FrameWriter::new(1024);
        writer.push(b"first", vec![a]).unwrap();
        writer.push(b"", Vec::new()).unwrap();
        writer.push(b"third", vec![b]).unwrap();
        assert_eq!(writer.flush(left.as_fd()).unwrap(), Flush::Done);
        let mut reader = FrameReader::new(1024);
        let mut seen = Vec::new();
        while let Read::Frame(frame) = reader.read(right.as_fd()).unwrap() {
            seen.push((frame.body.clone(), frame.fds.iter().map(inode).collect()));
        }
        let wanted: Vec<(Vec<u8>, Vec<u64>)> = vec![
            (b"first".to_vec(), vec![expected.0]),
            (Vec::new(), Vec::new()),
            (b"third".to_vec(), vec![expected.1]),
        ];
        assert_eq!(seen, wanted);
    }

    #[test]
    fn a_frame_larger_than_the_socket_goes_through_in_pieces() {
        let (left, right) = pair();
        let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut writer = FrameWriter::new(4 << 20);
        writer.push(&body, Vec::new()).unwrap();
        let mut reader = FrameReader::new(4 << 20);
        let frame = loop {
            writer.flush(left.as_fd()).unwrap();
            if let Read::Frame(frame) = reader.read(right.as_fd()).unwrap() {
                break frame;
            }
        };
        assert!(frame.body == body);
        assert_eq!(writer.queued(), 0);
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_memory_is_taken() {
        let (left, right) = pair();
        rustix::io::write(&left, &u32::MAX.to_le_bytes()).unwrap();
        let error = FrameReader::new(100).read(right.as_fd()).unwrap_err();
        assert!(matches!(error, FrameError::TooLarge { .. }), "{error}");
        let error = FrameWriter::new(3).push(b"four", Vec::new()).unwrap_err();
        assert!(matches!(error, FrameError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn an_end_inside_a_frame_is_told_from_an_end_between_frames() {
        let (left, right) = pair();
        rustix::io::write(&left, &[9, 0]).unwrap();
        drop(left);
        let error = FrameReader::new(100).read(right.as_fd()).unwrap_err();
        assert!(matches!(error, FrameError::CutOff), "{error}");
        let (left, right) = pair();
        drop(left);
        let read = FrameReader::new(100).read(right.as_fd()).unwrap();
        assert!(matches!(read, Read::Closed), "{read:?}");
    }

    #[test]
    fn received_descriptors_are_close_on_exec() {
        let (left, right) = pair();
        let mut writer = FrameWriter::new(10);
        let (plain, _other) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::empty(),
            None,
        )
        .unwrap();
        writer.push(b"x", vec![plain]).unwrap();
        writer.flush(left.as_fd()).unwrap();
        let Read::Frame(frame) = FrameReader::new(10).read(right.as_fd()).unwrap() else {
            unreachable!("a whole frame was sent");
        };
        let flags = rustix::io::fcntl_getfd(&frame.fds[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}
