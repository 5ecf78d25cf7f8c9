//! Sockets bound to a published port: to ask the host whether it is free, and to keep it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use super::Protocol;

/// With whom a socket puts up on its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// With nobody.
    Alone,
    /// With connections that wait out their last minute, which are no listeners.
    AfterEnded,
    /// With the forwarder that serves the port.
    WithForwarder,
    /// With what keeps the port, and with ended connections.
    AsForwarder,
}

/// Returns a socket bound to a port.
pub(crate) fn bound(
    protocol: Protocol,
    address: SocketAddr,
    sharing: Sharing,
) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, Some(number))?;
    let among_ours = matches!(sharing, Sharing::WithForwarder | Sharing::AsForwarder);
    let after_ended = matches!(sharing, Sharing::AfterEnded | Sharing::AsForwarder);
    if among_ours && protocol != Protocol::Sctp {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if after_ended && protocol == Protocol::Tcp {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}
