//! Port-forward: connections to ports of a sandbox, many in one connection of the client.
//!
//! Owns: how a client names a port, and the copying. Does not: know a sandbox's network; the
//! [`Backend`](crate::Backend) returns connected sockets.

mod copy;
mod over_socket;
mod over_spdy;
mod pairs;

pub(crate) use over_socket::{most_ports, serve as serve_socket};
pub(crate) use over_spdy::serve as serve_spdy;

/// Names spoken over SPDY.
pub(crate) const SPDY: &[&str] = &["portforward.k8s.io"];

/// SPDY inside the messages of a WebSocket.
pub(crate) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// Names spoken over WebSockets.
pub(crate) const SOCKET: &[&str] = &[TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"];

/// Returns what a client is told whose port could not be reached.
fn failed(port: u16, failure: &crate::Failure) -> Vec<u8> {
    format!("error forwarding port {port}: {}", failure.text()).into_bytes()
}
