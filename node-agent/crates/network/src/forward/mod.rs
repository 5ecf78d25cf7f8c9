//! Published ports on `[::1]`.
//!
//! The kernel never routes packets from `::1` off the loopback and has no switch for it, so a
//! rule cannot publish there. The agent listens instead and passes bytes on. It is the one part
//! of a published port that pauses while the agent is down; 127.0.0.1 is served by rules.

mod tcp;
mod udp;

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tokio::task::JoinHandle;

use crate::attachment::BridgeAttachment;
use crate::port::{PortMapping, Protocol};

/// A port being served; it ends some time after this is dropped.
#[derive(Debug)]
pub(crate) struct Forwarder(JoinHandle<()>);

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ends forwarders; their ports are free when this returns.
pub(crate) async fn stop(forwarders: Vec<Forwarder>) {
    for mut forwarder in forwarders {
        forwarder.0.abort();
        // It was cancelled, or had failed before: either way it is over.
        let _ = (&mut forwarder.0).await;
    }
}

/// Serves every port of an attachment that includes `[::1]`.
///
/// Returns those that work, and those that do not with the reason.
pub(crate) fn start(
    attachment: &BridgeAttachment,
) -> (Vec<Forwarder>, Vec<(PortMapping, io::Error)>) {
    let (mut working, mut failed) = (Vec::new(), Vec::new());
    let ipv6 = attachment.ipv6.map(|ip| IpAddr::V6(ip.address.addr()));
    let ipv4 = attachment.ipv4.map(|ip| IpAddr::V4(ip.address.addr()));
    let Some(inside) = ipv6.or(ipv4) else {
        return (working, failed);
    };
    for port in &attachment.ports {
        if !port.scope().has_loopback6() {
            continue;
        }
        let listen = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port.host_port);
        let target = SocketAddr::new(inside, port.container_port);
        let started = match port.protocol {
            Protocol::Tcp => tcp::start(listen, target),
            Protocol::Udp => udp::start(listen, target),
            Protocol::Sctp => continue,
        };
        match started {
            Ok(task) => working.push(Forwarder(task)),
            // A host without IPv6 has no [::1] to serve, and no one asked for it by name.
            Err(error) if port.host_ip.is_none() && is_absent(&error) => {}
            Err(error) => failed.push((*port, error)),
        }
    }
    (working, failed)
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}
