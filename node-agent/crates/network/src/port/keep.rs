//! Keeps a published port from the host's own programs for as long as it is published.
//!
//! The rules that publish a port need no socket. Without one a program of the host could bind the
//! port later and would wait for ever for what goes to the sandbox. These sockets only occupy the
//! port: they never listen, and what is published never reaches them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::socket::{Sharing, bound};
use super::{PortMapping, Scope};

/// Binds what `mapping` publishes on every family of its scope.
///
/// What cannot be bound goes unkept: the port is published all the same.
pub(crate) fn keep(mapping: &PortMapping) -> Vec<OwnedFd> {
    let addresses: &[IpAddr] = match mapping.scope() {
        Scope::Any => &[Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        Scope::AnyV4 => &[Ipv4Addr::UNSPECIFIED.into()],
        Scope::AnyV6 => &[Ipv6Addr::UNSPECIFIED.into()],
        // Its forwarder listens there, and two sockets would share its datagrams.
        Scope::One(IpAddr::V6(Ipv6Addr::LOCALHOST)) => &[],
        Scope::One(ip) => &[ip],
    };
    let sockets = addresses.iter().filter_map(|ip| {
        let sharing = if ip.is_ipv6() {
            Sharing::WithForwarder
        } else {
            Sharing::Alone
        };
        let address = SocketAddr::new(*ip, mapping.host_port);
        match bound(mapping.protocol, address, sharing) {
            Ok(socket) => Some(socket),
            // Nobody binds what the host does not have.
            Err(Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::ADDRNOTAVAIL) => None,
            Err(error) => {
                tracing::warn!(port = %mapping, error = %error, "published port could not be kept from the host");
                None
            }
        }
    });
    sockets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Protocol;
    use std::net::{TcpListener, UdpSocket};

    fn mapping(protocol: Protocol, ip: Option<&str>, host_port: u16) -> PortMapping {
        PortMapping {
            protocol,
            host_ip: ip.map(|ip| ip.parse().unwrap()),
            host_port,
            container_port: 80,
        }
    }

    #[test]
    fn nobody_else_binds_a_kept_port() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let kept = keep(&mapping(Protocol::Tcp, None, port));
        // Both of these set SO_REUSEADDR, as most servers do.
        for ip in ["127.0.0.1", "0.0.0.0", "::", "::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let error = TcpListener::bind((ip, port)).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{ip}");
        }
        let beside = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
        assert!(
            bound(Protocol::Tcp, beside, Sharing::AsForwarder).is_ok(),
            "a forwarder does"
        );
        drop(kept);
        assert!(TcpListener::bind(("127.0.0.1", port)).is_ok());
    }

    #[test]
    fn one_address_is_kept_alone() {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let _kept = keep(&mapping(Protocol::Udp, Some("127.0.0.1"), port));
        assert!(UdpSocket::bind(("127.0.0.1", port)).is_err());
        assert!(UdpSocket::bind(("127.0.0.2", port)).is_ok());
        assert!(keep(&mapping(Protocol::Udp, Some("::1"), port)).is_empty());
    }
}
