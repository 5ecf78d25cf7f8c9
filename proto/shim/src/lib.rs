//! The protocol between the agent, its launcher and the shims.
//!
//! Owns: `shim.proto` beside this crate, and the frame that carries its messages.
//! Does not: open sockets. It depends on prost alone, so that the shim stays small.
#![forbid(unsafe_code)]
#![allow(
    missing_debug_implementations,
    unreachable_pub,
    clippy::struct_excessive_bools,
    reason = "generated code"
)]

include!(concat!(env!("OUT_DIR"), "/shim.v1.rs"));

/// Version of the protocol this build speaks; see `Hello` in `shim.proto`.
pub const PROTOCOL_VERSION: u32 = 1;

/// Largest message either side accepts, in bytes; a larger length ends the connection.
pub const MAX_MESSAGE: usize = 4 << 20;

/// Most file descriptors one message may carry (the kernel's `SCM_MAX_FD` is 253).
pub const MAX_FDS: usize = 253;
