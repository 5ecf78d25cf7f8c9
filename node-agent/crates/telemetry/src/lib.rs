//! How the agent tells what it does: log start-up and the printer of error chains.
//!
//! Owns: the log's format and level. Does not: decide what is logged.
#![forbid(unsafe_code)]

mod chain;
mod log;

pub use chain::{Chain, chain};
pub use log::{Config, Format, LogError, start};
