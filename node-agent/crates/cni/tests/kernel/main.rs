//! Plugins against the real kernel, each test in a network namespace that plays the host; needs
//! root, and Debian's `containernetworking-plugins` in /usr/lib/cni.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy exempts only functions marked as tests, not their helpers"
)]

mod harness;
mod hostile;
mod real;
mod scripted;
