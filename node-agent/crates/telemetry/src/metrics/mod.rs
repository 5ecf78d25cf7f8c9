//! Metrics of the agent itself, and where they are read.
//!
//! Owns: the endpoint, the process's own metrics, the buckets. Does not: know what is measured;
//! each part of the agent registers its own.

mod process;
mod serve;

pub use prometheus_client::collector::Collector;
pub use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder,
};
pub use prometheus_client::metrics::MetricType;
pub use prometheus_client::metrics::counter::{ConstCounter, Counter};
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
pub use prometheus_client::metrics::histogram::Histogram;
pub use prometheus_client::registry::Registry;

pub use process::register as register_process;
pub use serve::{BindError, Endpoint, EndpointConfig, TlsFiles};

/// Upper bounds, in seconds, for what takes from a tenth of a millisecond to a minute.
const BOUNDS: [f64; 18] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0, 60.0,
];

/// A label and its value.
pub type Label = (&'static str, &'static str);

/// Returns a histogram of seconds.
#[must_use]
pub fn seconds() -> Histogram {
    Histogram::new(BOUNDS)
}

/// Returns everything in the text format of `OpenMetrics`.
///
/// # Errors
/// When a collector fails; those of the agent do not.
pub fn text(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    Ok(text)
}
