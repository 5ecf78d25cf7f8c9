//! Counters of the interfaces of a network namespace, read through a socket from inside.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::socket::{Reader, TYPE_DONE, TYPE_ERROR, messages};

/// `RTM_GETLINK`, asking for all of them.
const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
const DUMP_REQUEST: u16 = 0x301;
/// Length of the fixed part of a message about a link.
const FIXED: usize = 16;
/// `IFF_LOOPBACK`.
const LOOPBACK: u32 = 8;
const NAME: u16 = 3;
const STATS64: u16 = 23;
/// Largest piece that the kernel answers a dump with unless it sees larger buffers.
const BUFFER: usize = 16 * 1024;
/// Interfaces that are told of: a sandbox that may make some could make any number.
pub const MOST_INTERFACES: usize = 64;

/// Counters of an interface, as its own namespace sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceStats {
    /// Its name.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Receive errors.
    pub rx_errors: u64,
    /// Packets dropped on their way in.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Send errors.
    pub tx_errors: u64,
    /// Packets dropped on their way out.
    pub tx_dropped: u64,
}

/// Reads the counters of a network namespace, which it keeps alive.
#[derive(Debug)]
pub struct Counters(OwnedFd);

impl Counters {
    /// Opens a socket in the namespace.
    ///
    /// # Errors
    /// When it cannot be entered, or no descriptor is left.
    pub fn open(netns: BorrowedFd<'_>) -> io::Result<Self> {
        agent_sys::netns::route_socket_in(netns).map(Self)
    }

    /// Returns the counters of every interface but the loopback, of the first [`MOST_INTERFACES`] where there
    /// are more; and itself for the next reading, unless a part of this answer is still to be read,
    /// which the next reader would take for its own. Blocks for some microseconds.
    ///
    /// # Errors
    /// When the kernel refuses, or does not answer.
    pub fn read(self) -> io::Result<(Vec<InterfaceStats>, Option<Self>)> {
        rustix::net::send(&self.0, &request(), SendFlags::empty())?;
        let mut found = Vec::new();
        let mut buffer = [0_u8; BUFFER];
        while found.len() < MOST_INTERFACES {
            let length = match rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            if let Answer::Whole = take(datagram, &mut found)? {
                found.truncate(MOST_INTERFACES);
                return Ok((found, Some(self)));
            }
        }
        found.truncate(MOST_INTERFACES);
        Ok((found, None))
    }
}

/// How much of an answer has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Begun,
    Whole,
}

/// Takes the links out of one piece of an answer.
fn take(datagram: &[u8], found: &mut Vec<InterfaceStats>) -> Result<Answer, Errno> {
    for (kind, payload) in messages(datagram) {
        match kind {
            NEW_LINK => found.extend(interface(payload)),
            TYPE_ERROR | TYPE_DONE => {
                let code = payload
                    .first_chunk()
                    .map_or(0, |code| i32::from_ne_bytes(*code));
                return match code {
                    0.. => Ok(Answer::Whole),
                    refused => Err(Errno::from_raw_os_error(refused.saturating_neg())),
                };
            }
            _ => {}
        }
    }
    Ok(Answer::Begun)
}

fn request() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&32_u32.to_ne_bytes());
    bytes[4..6].copy_from_slice(&GET_LINK.to_ne_bytes());
    bytes[6..8].copy_from_slice(&DUMP_REQUEST.to_ne_bytes());
    bytes
}

/// Reads a message about a link; `None` for a loopback.
fn interface(payload: &[u8]) -> Option<InterfaceStats> {
    let flags = u32::from_ne_bytes(*payload.get(8..)?.first_chunk()?);
    if flags & LOOPBACK != 0 {
        return None;
    }
    let mut stats = InterfaceStats::default();
    for (kind, value) in Reader(payload.get(FIXED..)?) {
        match kind {
            NAME => {
                let name = String::from_utf8_lossy(value);
                name.trim_end_matches('\0').clone_into(&mut stats.name);
            }
            STATS64 => count(&mut stats, value)?,
            _ => {}
        }
    }
    Some(stats)
}

/// Reads the counters in the order of the kernel's `rtnl_link_stats64`.
fn count(stats: &mut InterfaceStats, value: &[u8]) -> Option<()> {
    let (numbers, _) = value.as_chunks::<8>();
    let number = |index: usize| numbers.get(index).copied().map(u64::from_ne_bytes);
    stats.rx_packets = number(0)?;
    stats.tx_packets = number(1)?;
    stats.rx_bytes = number(2)?;
    stats.tx_bytes = number(3)?;
    stats.rx_errors = number(4)?;
    stats.tx_errors = number(5)?;
    stats.rx_dropped = number(6)?;
    stats.tx_dropped = number(7)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn name_and_counters_are_found_among_other_attributes() {
        let counters: Vec<u8> = (1..=23_u64).flat_map(u64::to_ne_bytes).collect();
        let mut payload = vec![0; FIXED];
        payload.extend(attribute(1, &[1, 2, 3, 4, 5, 6]));
        payload.extend(attribute(NAME, b"eth0\0"));
        payload.extend(attribute(STATS64, &counters));
        let stats = interface(&payload).unwrap();
        assert_eq!((stats.name.as_str(), stats.rx_bytes), ("eth0", 3));
        assert_eq!((stats.tx_bytes, stats.tx_dropped), (4, 8));
        payload[8] = 8;
        assert_eq!(interface(&payload), None);
    }

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(16, 0);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_refusal_is_no_sandbox_without_interfaces() {
        let mut found = Vec::new();
        let mut link = vec![0; FIXED];
        link.extend(attribute(NAME, b"eth0\0"));
        let mut piece = message(NEW_LINK, &link);
        assert_eq!(take(&piece, &mut found), Ok(Answer::Begun));
        let busy = Errno::BUSY.raw_os_error();
        for kind in [TYPE_ERROR, TYPE_DONE] {
            let refusal = message(kind, &(-busy).to_ne_bytes());
            assert_eq!(take(&refusal, &mut found), Err(Errno::BUSY));
        }
        piece.extend(message(TYPE_DONE, &[0; 4]));
        assert_eq!(take(&piece, &mut found), Ok(Answer::Whole));
        assert_eq!(found.len(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = interface(&bytes);
            let _ = take(&bytes, &mut Vec::new());
        }
    }
}
