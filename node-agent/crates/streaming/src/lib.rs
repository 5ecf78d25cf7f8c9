//! Streams of bytes between clients and containers: exec, attach and port-forward over HTTP/1.1
//! upgrades, as `SPDY/3.1` or as a WebSocket.
//!
//! Owns: the HTTP server, both wire protocols, the remote command and port-forward protocols on
//! top of them, and every limit and time-out of a client. Does not: know what a container is, or
//! who may see one; a [`Backend`] redeems one-time tickets and hands over descriptors.
//!
//! ```text
//! GET or POST /{exec,attach,portforward}/<ticket>
//!   server ── upgrade ──┬─ spdy ──────┬─ command  (streams of one process)
//!                       └─ socket ────┴─ forward  (connections to ports of a sandbox)
//! ```
//!
//! Start reading at [`server`].
#![forbid(unsafe_code)]

mod activity;
mod backend;
mod command;
mod forward;
mod hangup;
mod inflow;
mod inlet;
mod outlet;
mod relay;
pub mod server;
mod socket;
mod spdy;
mod transport;

pub use backend::{Answer, Backend, Control, Failure, Grant, Kind, Process, Streams, Style};
pub use server::{BindError, Bound, Config};
