//! Starting the log.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people and the journal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged and how.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Directives of `tracing`'s filter, such as `info` or `agent_core=debug,info`.
    pub filter: String,
    /// How lines are written.
    pub format: Format,
}

/// Why the log was not started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is none.
    #[error("log filter {filter:?} is not valid")]
    Filter {
        /// As it was given.
        filter: String,
        /// Why.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The log was started before.
    #[error("log was started twice")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts the log on standard error, for the whole process.
///
/// # Errors
/// When the filter is not valid, or the log was started before.
pub fn start(config: &Config) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|source| LogError::Filter {
        filter: config.filter.clone(),
        source,
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match config.format {
        Format::Text => {
            let lines = lines
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false);
            registry.with(lines).try_init()?;
        }
        Format::Json => registry.with(lines.json()).try_init()?,
    }
    Ok(())
}
