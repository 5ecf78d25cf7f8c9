//! How the agent tells what it does: the log, the printer of error chains, metrics, and traces.
//!
//! Owns: the log's format and level, the endpoint of metrics, and the export of spans. Does not:
//! decide what is logged, measured or traced.
#![forbid(unsafe_code)]

mod chain;
mod log;
pub mod metrics;
mod trace;

pub use chain::{Chain, chain};
pub use log::{Config, Format, LogError, start};
pub use trace::{TraceConfig, Traces, follow_caller, past_span};
