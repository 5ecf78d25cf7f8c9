//! Shims driven for real, as root: a launcher, namespaces, cgroups, containers of busybox.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests; without a test attribute the lints do not know helpers as such"
)]

mod cgroups;
mod harness;
mod hostile;
mod isolation;
mod lifecycle;
mod logs;
mod memory;
mod restart;
mod sessions;
