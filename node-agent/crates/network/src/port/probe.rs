//! Asks the host whether a port is free by binding it for an instant.
//!
//! Nothing is held afterwards; what is published is kept by [`super::keep()`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;

use super::socket::{Sharing, bound};
use super::{PortMapping, Scope};

/// What the host says about a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Nobody listens there.
    Free,
    /// A process of the host has it.
    Taken,
    /// The host has no such address.
    NoSuchAddress,
}

/// Binds what `mapping` would publish, on every family of its scope, and lets go.
pub(crate) fn probe(mapping: &PortMapping) -> Result<Probe, Errno> {
    let (v4, v6) = match mapping.scope() {
        Scope::Any => (Some(Ipv4Addr::UNSPECIFIED), Some(Ipv6Addr::UNSPECIFIED)),
        Scope::AnyV4 => (Some(Ipv4Addr::UNSPECIFIED), None),
        Scope::AnyV6 => (None, Some(Ipv6Addr::UNSPECIFIED)),
        Scope::One(IpAddr::V4(ip)) => (Some(ip), None),
        Scope::One(IpAddr::V6(ip)) => (None, Some(ip)),
    };
    for ip in v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6)) {
        let address = SocketAddr::new(ip, mapping.host_port);
        match bound(mapping.protocol, address, Sharing::AfterEnded) {
            Ok(_) => {}
            Err(Errno::ADDRINUSE) => return Ok(Probe::Taken),
            Err(Errno::ADDRNOTAVAIL) => return Ok(Probe::NoSuchAddress),
            // A kernel without this family or protocol has no listener of it either.
            Err(Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(Probe::Free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Protocol;
    use std::net::{TcpListener, UdpSocket};

    fn mapping(protocol: Protocol, ip: Option<&str>, port: u16) -> PortMapping {
        PortMapping {
            protocol,
            host_ip: ip.map(|ip| ip.parse().unwrap()),
            host_port: port,
            container_port: 80,
        }
    }

    #[test]
    fn a_listener_of_the_host_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = mapping(Protocol::Tcp, None, port);
        assert_eq!(probe(&taken), Ok(Probe::Taken));
        let elsewhere = mapping(Protocol::Udp, Some("127.0.0.1"), port);
        assert_eq!(probe(&elsewhere), Ok(Probe::Free));
        drop(listener);
        assert_eq!(probe(&taken), Ok(Probe::Free));
    }

    #[test]
    fn a_datagram_socket_of_the_host_is_seen() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let taken = mapping(Protocol::Udp, Some("127.0.0.1"), port);
        assert_eq!(probe(&taken), Ok(Probe::Taken));
    }

    #[test]
    fn an_address_of_another_machine_is_seen() {
        let foreign = mapping(Protocol::Tcp, Some("203.0.113.77"), 8080);
        assert_eq!(probe(&foreign), Ok(Probe::NoSuchAddress));
    }
}
