//! Images as a node has them: pulled from a real registry and from one that misbehaves.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails should stop"
)]

mod faults;
mod made;
mod node;
mod power;
mod real;
mod removal;
mod sharing;
#[path = "../../../registry/tests/support/mod.rs"]
mod support;
