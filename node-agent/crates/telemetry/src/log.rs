//! Starting the log, and the export of spans beside it.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::trace::{TraceConfig, Traces};

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
    /// Where spans are exported to; absent: nowhere, and none are made.
    pub traces: Option<TraceConfig>,
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
    /// Spans cannot be exported as the configuration says.
    #[error("export of spans could not be set up")]
    Export(#[source] opentelemetry_otlp::ExporterBuildError),
    /// The log was started before.
    #[error("log was started twice")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// A part of what takes up events and spans.
type Part = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts the log on standard error, and the export of spans, for the whole process. Spans are
/// exported until the result is dropped. Must be called inside a tokio runtime.
///
/// # Errors
/// When the filter or the collector's address is not valid, or the log was started before.
pub fn start(config: &Config) -> Result<Option<Traces>, LogError> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|source| LogError::Filter {
        filter: config.filter.clone(),
        source,
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: Part = match config.format {
        Format::Text => {
            let ansi = std::io::stderr().is_terminal();
            lines.with_ansi(ansi).with_target(false).boxed()
        }
        Format::Json => lines.json().boxed(),
    };
    let Some(wanted) = &config.traces else {
        // One filter for everything: spans that it leaves out are never made.
        let registry = tracing_subscriber::registry().with(lines).with(filter);
        registry.try_init()?;
        return Ok(None);
    };
    let traces = Traces::open(wanted).map_err(LogError::Export)?;
    let ours = filter_fn(is_span_of_ours).with_max_level_hint(LevelFilter::DEBUG);
    let spans = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer())
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(ours);
    let parts: Vec<Part> = vec![lines.with_filter(filter).boxed(), spans.boxed()];
    tracing_subscriber::registry().with(parts).try_init()?;
    Ok(Some(traces))
}

/// Tells the spans of the agent's own crates from those of others, such as the exporter's.
fn is_span_of_ours(metadata: &tracing::Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("agent_")
}
