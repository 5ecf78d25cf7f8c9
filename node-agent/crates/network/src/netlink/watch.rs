//! Tells when links of the host, or tables of ours, go away.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, netlink,
    netlink::SocketAddrNetlink, sockopt,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::socket::messages;

const RTM_DELLINK: u16 = 17;
const LINK_GROUP: u32 = 1;
const IFLA_IFNAME: u16 = 3;
/// Fixed part of a link message.
const LINK_FIXED: usize = 16;

/// Netfilter's subsystem 10, message 2.
const DELETE_TABLE: u16 = (10 << 8) | 2;
const TABLES_GROUP: u32 = 1 << 6;
const TABLE_NAME: u16 = 1;
/// Fixed part of a netfilter message.
const TABLE_FIXED: usize = 4;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gone {
    /// Links or tables with these names are gone.
    Names(Vec<String>),
    /// Messages were lost: look at everything.
    Unknown,
}

/// A subscription in the caller's network namespace.
#[derive(Debug)]
pub(crate) struct Watch {
    socket: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
    kind: u16,
    attribute: u16,
    fixed: usize,
}

impl Watch {
    /// Subscribes to the end of links, and is woken for nothing else.
    pub(crate) fn links() -> io::Result<Self> {
        let socket = open(None)?;
        // Deletions of bridge ports come as the same message of another family.
        agent_sys::netns::keep_only(socket.as_fd(), RTM_DELLINK, 0)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, LINK_GROUP))?;
        Self::new(socket, RTM_DELLINK, IFLA_IFNAME, LINK_FIXED)
    }

    /// Subscribes to the end of packet filter tables. The kernel packs all messages of a
    /// transaction together, so none can be kept out.
    pub(crate) fn tables() -> io::Result<Self> {
        let socket = open(Some(netlink::NETFILTER))?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, TABLES_GROUP))?;
        Self::new(socket, DELETE_TABLE, TABLE_NAME, TABLE_FIXED)
    }

    fn new(socket: OwnedFd, kind: u16, attribute: u16, fixed: usize) -> io::Result<Self> {
        Ok(Self {
            socket: register(socket)?,
            buffer: vec![0; 32 * 1024],
            kind,
            attribute,
            fixed,
        })
    }

    /// Waits for the next event.
    pub(crate) async fn next(&mut self) -> io::Result<Gone> {
        loop {
            let mut ready = self.socket.readable().await?;
            let buffer = &mut self.buffer;
            let read = ready.try_io(|socket| {
                match rustix::net::recv(socket.get_ref(), &mut buffer[..], RecvFlags::DONTWAIT) {
                    Ok((length, _)) => Ok(Some(length)),
                    Err(Errno::NOBUFS) => Ok(None),
                    Err(errno) => Err(errno.into()),
                }
            });
            match read {
                Ok(Ok(None)) => return Ok(Gone::Unknown),
                Ok(Ok(Some(length))) => {
                    let names = self.names(self.buffer.get(..length).unwrap_or_default());
                    if !names.is_empty() {
                        return Ok(Gone::Names(names));
                    }
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }

    fn names(&self, datagram: &[u8]) -> Vec<String> {
        messages(datagram)
            .filter(|(kind, _)| *kind == self.kind)
            .filter_map(|(_, payload)| text(payload.get(self.fixed..)?, self.attribute))
            .collect()
    }
}

fn open(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        protocol,
    )?;
    sockopt::set_socket_recv_buffer_size_force(&socket, 4 << 20)?;
    Ok(socket)
}

#[expect(
    deprecated,
    reason = "the sound constructor is unsafe; an OwnedFd always answers with the same descriptor"
)]
fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// Returns the first attribute of a kind as text.
fn text(mut attributes: &[u8], wanted: u16) -> Option<String> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let kind = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        let value = attributes.get(4..length)?;
        if kind == wanted {
            let name = value.split(|b| *b == 0).next()?;
            return String::from_utf8(name.to_vec()).ok();
        }
        attributes = attributes.get((length + 3) & !3..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_name_is_found_among_other_attributes() {
        let mut attributes = vec![8, 0, 13, 0, 1, 2, 3, 4, 10, 0, 3, 0];
        attributes.extend(b"naabc\0\0\0");
        assert_eq!(text(&attributes, IFLA_IFNAME).as_deref(), Some("naabc"));
        assert_eq!(text(&attributes, 4), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = text(&bytes, IFLA_IFNAME);
        }
    }
}
