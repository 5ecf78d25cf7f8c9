//! SPDY/3.1 as clusters speak it: many streams of bytes in one connection, opened by the client.
//!
//! Owns: frames, header compression, windows, pings, and the bounds on what a client can make
//! us hold. Does not: know what a stream is for. Written after the specification (draft 3.1);
//! never pushes, sends no settings, and ignores priorities.
//!
//! Two things differ from a browser's SPDY. The clients are proxies and command line tools whose
//! library neither keeps to windows nor opens them; [`window`] finds out which kind a client is. And
//! as such a client cannot be told to slow down a single stream, its whole connection is not read
//! while one of its streams is full.
//!
//! Start reading at [`Connection::open`].

mod compression;
mod connection;
mod dictionary;
mod frame;
mod headers;
mod reader;
mod sink;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use connection::Connection;
pub(crate) use headers::Headers;
pub(crate) use stream::{Incoming, Outflow, StreamInflow};
