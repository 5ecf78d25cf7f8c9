//! A process in the foreground: its streams joined with `ctl`'s own.
//!
//! Owns: the pump between the two, the terminal's size, the keys that detach,
//! and the signals that are passed on. Does not: create or start anything.
//!
//! ```text
//! stdin -> input -> [keys] -> Connection -> agent -> Connection -> Output -> stdout, stderr
//! ```
//!
//! Start reading at `foreground.rs` (a container) or `exec` in `connection.rs`.

mod connection;
mod foreground;
mod forward;
mod input;
mod pump;
mod signals;

pub(crate) use connection::Connection;
pub(crate) use foreground::{Foreground, OutputFrom, Streams};
pub(crate) use forward::forward;
pub(crate) use pump::{Broken, End, Pump};
pub(crate) use signals::Signals;
