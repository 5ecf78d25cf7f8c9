//! WebSockets (RFC 6455), as clusters use them: streams as channels of one connection, or a byte
//! stream in which SPDY is tunnelled.
//!
//! Owns: the opening handshake, what the first byte of a message means, and the closing.
//! Does not: frame or mask; `fastwebsockets` does.

mod channels;
mod codec;
mod handshake;
mod reader;
mod tunnel;

pub(crate) use channels::{Channel, Channels};
pub(crate) use codec::Codec;
pub(crate) use handshake::accept_key;
pub(crate) use tunnel::tunnel;

/// Largest message taken, in bytes.
pub(crate) const MAX_MESSAGE: usize = 4 << 20;
