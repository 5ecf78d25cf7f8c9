//! Remote commands: the streams of one process, carried to a client that may be on the other side
//! of several proxies.
//!
//! Owns: the versions of the protocol, its status objects, and the moving of bytes.
//! Does not: frame anything; an [`Outlet`](crate::outlet::Outlet) and an
//! [`Inlet`](crate::inlet::Inlet) do.
//!
//! ```text
//! streams there ─▶ process started ─▶ bytes both ways ─▶ ended ─▶ output drained ─▶ status
//!      └─ too late: closed                 └─ client gone: process abandoned
//! ```

mod over_socket;
mod over_spdy;
pub(crate) mod protocol;
mod pump;
mod resize;
mod session;
mod status;

pub(crate) use over_socket::serve as serve_socket;
pub(crate) use over_spdy::{Offer, serve as serve_spdy};
