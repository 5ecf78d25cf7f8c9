//! The network against the real kernel; needs root, nftables and iproute2.
//!
//! Each test plays a whole host inside a network namespace of its own, so nothing of the
//! machine's network is touched and tests run side by side.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

mod ahead;
mod beside;
mod harness;
mod hostile;
mod lifecycle;
mod ranges;
mod recover;
mod traffic;
