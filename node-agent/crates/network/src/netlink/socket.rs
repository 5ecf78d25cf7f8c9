//! A netlink socket that sends a batch and reads what the kernel says to each message.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt,
};

const HEADER: usize = 16;
pub(super) const TYPE_ERROR: u16 = 2;
pub(super) const TYPE_DONE: u16 = 3;
const FLAG_CAPPED: u16 = 0x100;
const FLAG_ATTRIBUTES: u16 = 0x200;
const ATTRIBUTE_MESSAGE: u16 = 1;
/// Enough for the largest answer the kernel sends in one piece.
const BUFFER: usize = 64 * 1024;
/// Enough for what is asked inside a sandbox.
const GUEST_BUFFER: usize = 8 * 1024;

/// What the kernel answered, with its own words where it has any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelError {
    /// The error number.
    pub errno: Errno,
    /// The kernel's explanation.
    pub explanation: Option<Box<str>>,
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.errno)?;
        match &self.explanation {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for KernelError {}

impl From<Errno> for KernelError {
    fn from(errno: Errno) -> Self {
        Self {
            errno,
            explanation: None,
        }
    }
}

/// One message of a batch that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel refused to {step}")]
pub struct Refused {
    /// What the message was to do.
    pub step: &'static str,
    /// What the kernel said.
    #[source]
    pub source: KernelError,
}

/// Messages that go to the kernel in one piece.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    steps: Vec<&'static str>,
}

impl Batch {
    /// Adds a route message; `step` names it in errors.
    pub(crate) fn push(&mut self, step: &'static str, message: RouteNetlinkMessage, flags: u16) {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags | NLM_F_REQUEST | NLM_F_ACK;
        message.header.sequence_number = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        message.finalize();
        let start = self.bytes.len();
        self.bytes.resize(start + message.buffer_len(), 0);
        if let Some(space) = self.bytes.get_mut(start..) {
            message.serialize(space);
        }
        self.steps.push(step);
    }
}

/// One message the kernel sent.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Everything behind the header.
    pub(crate) payload: Vec<u8>,
}

/// A netlink socket and its buffer.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket of `protocol` in the caller's network namespace.
    pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        Ok(Self::from_fd(fd, BUFFER))
    }

    /// Opens an rtnetlink socket.
    pub(crate) fn route() -> io::Result<Self> {
        Self::open(None)
    }

    /// Opens an nfnetlink socket that takes batches of several thousand elements.
    pub(crate) fn netfilter() -> io::Result<Self> {
        let socket = Self::open(Some(netlink::NETFILTER))?;
        sockopt::set_socket_send_buffer_size_force(&socket.fd, 8 << 20)?;
        sockopt::set_socket_recv_buffer_size_force(&socket.fd, 8 << 20)?;
        Ok(socket)
    }

    /// Takes over a socket that somebody else opened inside a sandbox, for a few messages.
    pub(crate) fn of_guest(fd: OwnedFd) -> Self {
        Self::from_fd(fd, GUEST_BUFFER)
    }

    fn from_fd(fd: OwnedFd, buffer: usize) -> Self {
        // Explanations are a courtesy: an old kernel without them is served as well.
        let _ = agent_sys::netns::ask_for_explanations(fd.as_fd());
        Self {
            fd,
            buffer: vec![0; buffer],
        }
    }

    /// Sends a batch of route messages and returns everything that is not an acknowledgement.
    ///
    /// The kernel works through all of them even where one is refused; `tolerate` says which
    /// refusals do not matter, the first other one is the error.
    pub(crate) fn transact(
        &mut self,
        batch: &Batch,
        tolerate: impl Fn(&'static str, Errno) -> bool,
    ) -> Result<Vec<Reply>, Refused> {
        let failed = |step| {
            move |errno: Errno| Refused {
                step,
                source: errno.into(),
            }
        };
        self.send(&batch.bytes).map_err(failed("take a message"))?;
        let mut open = batch.steps.len();
        let mut first = None;
        let mut replies = Vec::new();
        while open > 0 {
            let length = self.receive().map_err(failed("answer"))?;
            for message in Messages(self.buffer.get(..length).unwrap_or_default()) {
                if message.kind != TYPE_ERROR {
                    replies.push(message.to_reply());
                    continue;
                }
                open = open.saturating_sub(1);
                let step = usize::try_from(message.sequence).ok();
                let step = step.and_then(|n| batch.steps.get(n).copied());
                let step = step.unwrap_or("do an unknown step");
                match message.error() {
                    Some(source) if !tolerate(step, source.errno) => {
                        first.get_or_insert(Refused { step, source });
                    }
                    _ => {}
                }
            }
        }
        first.map_or(Ok(replies), Err)
    }

    /// Sends raw messages and returns the first error among all answers that wait afterwards.
    ///
    /// For netfilter transactions, which the kernel has finished when the call returns.
    pub(crate) fn commit(&mut self, bytes: &[u8]) -> Result<(), KernelError> {
        self.send(bytes)?;
        let mut first = None;
        let mut answered = false;
        loop {
            let length = match self.receive() {
                Ok(length) => length,
                Err(Errno::AGAIN) if answered => return first.map_or(Ok(()), Err),
                Err(errno) => return Err(errno.into()),
            };
            for message in Messages(self.buffer.get(..length).unwrap_or_default()) {
                answered = true;
                if message.kind == TYPE_ERROR {
                    first = first.or(message.error());
                }
            }
        }
    }

    /// Sends one raw dump request and returns its answers.
    pub(crate) fn dump(&mut self, bytes: &[u8]) -> Result<Vec<Reply>, KernelError> {
        self.send(bytes)?;
        let mut replies = Vec::new();
        loop {
            let length = self.receive()?;
            for message in Messages(self.buffer.get(..length).unwrap_or_default()) {
                match message.kind {
                    TYPE_DONE => return Ok(replies),
                    TYPE_ERROR => return message.error().map_or(Ok(replies), Err),
                    _ => replies.push(message.to_reply()),
                }
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        loop {
            match rustix::net::send(&self.fd, bytes, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Reads one datagram. The kernel answers while it takes the request, so nothing to read
    /// means that no answer will come.
    fn receive(&mut self) -> Result<usize, Errno> {
        loop {
            match rustix::net::recv(&self.fd, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => return Ok(length),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// One message inside the receive buffer.
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl Message<'_> {
    fn to_reply(&self) -> Reply {
        Reply {
            payload: self.payload.to_vec(),
        }
    }

    /// Returns the error an error message carries; none for an acknowledgement.
    fn error(&self) -> Option<KernelError> {
        let number = i32::from_ne_bytes(*self.payload.first_chunk()?);
        if number == 0 {
            return None;
        }
        Some(KernelError {
            errno: Errno::from_raw_os_error(number.saturating_neg()),
            explanation: self.explanation(),
        })
    }

    fn explanation(&self) -> Option<Box<str>> {
        if self.flags & FLAG_ATTRIBUTES == 0 {
            return None;
        }
        // Behind the number stands the refused message, or only its header.
        let original = u32::from_ne_bytes(*self.payload.get(4..)?.first_chunk()?);
        let original = if self.flags & FLAG_CAPPED == 0 {
            align(usize::try_from(original).ok()?)
        } else {
            HEADER
        };
        let mut attributes = Reader(self.payload.get(4 + original..)?);
        let (_, text) = attributes.find(|(kind, _)| *kind == ATTRIBUTE_MESSAGE)?;
        let text = String::from_utf8_lossy(text);
        Some(text.trim_end_matches('\0').into())
    }
}

/// Kind and value of each attribute of a message.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Reader<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(*self.0.first_chunk()?));
        let kind = u16::from_ne_bytes(*self.0.get(2..)?.first_chunk()?);
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Returns type and content of each message of a datagram.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    Messages(datagram).map(|message| (message.kind, message.payload))
}

/// The messages of a datagram.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = usize::try_from(u32::from_ne_bytes(*self.0.first_chunk()?)).ok()?;
        let message = Message {
            kind: u16::from_ne_bytes(*self.0.get(4..)?.first_chunk()?),
            flags: u16::from_ne_bytes(*self.0.get(6..)?.first_chunk()?),
            sequence: u32::from_ne_bytes(*self.0.get(8..)?.first_chunk()?),
            payload: self.0.get(HEADER..length)?,
        };
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some(message)
    }
}

fn align(length: usize) -> usize {
    (length + 3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_explanation_is_found_behind_a_capped_refusal() {
        let mut bytes = Vec::new();
        bytes.extend(60_u32.to_ne_bytes());
        bytes.extend(TYPE_ERROR.to_ne_bytes());
        bytes.extend((FLAG_CAPPED | FLAG_ATTRIBUTES).to_ne_bytes());
        bytes.extend(3_u32.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend((-17_i32).to_ne_bytes());
        bytes.extend(500_u32.to_ne_bytes());
        bytes.extend([0; 12]);
        bytes.extend(24_u16.to_ne_bytes());
        bytes.extend(ATTRIBUTE_MESSAGE.to_ne_bytes());
        bytes.extend(b"name already in use\0");
        let messages: Vec<Message<'_>> = Messages(&bytes).collect();
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].sequence, 3);
        let error = messages[0].error().unwrap();
        assert_eq!(error.errno, Errno::EXIST);
        assert!(
            error.to_string().ends_with(": name already in use"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for message in Messages(&bytes).take(100) {
                let _ = message.error();
            }
        }
    }
}
