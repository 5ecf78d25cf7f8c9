//! The snapshots on a real file system, as root.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ambiguous;
mod apply;
mod build;
mod complete;
mod containers;
mod differential;
mod hostile;
mod node;
mod overlay;
mod points;
mod recovery;
