//! Pods whose network plugins make: Debian's, and scripts that misbehave on purpose.
//!
//! Each test plays a whole host in a network namespace of its own, with configuration, plugins
//! and what they keep in the agent's directory.
#![forbid(unsafe_code)]

mod failures;
mod host;
mod readiness;
mod real;
mod restart;
mod told;
