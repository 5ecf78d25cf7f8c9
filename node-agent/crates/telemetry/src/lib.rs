//! How the agent tells what it does: the log, the printer of error chains, and metrics.
//!
//! Owns: the log's format and level, and the endpoint of metrics. Does not: decide what is logged
//! or measured.
#![forbid(unsafe_code)]

mod chain;
mod log;
pub mod metrics;

pub use chain::{Chain, chain};
pub use log::{Config, Format, LogError, start};
