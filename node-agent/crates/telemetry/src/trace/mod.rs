//! Traces: spans exported over OTLP, below the caller's where it names one.
//!
//! Owns: the exporter, and what comes of it when nobody takes the spans. Does not: make spans; the
//! code that does the work does, with `tracing`, and none are made where nothing is exported.

mod export;

use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use self::export::Told;

/// Name under which the agent's spans are found, unless `OTEL_SERVICE_NAME` says another.
const SERVICE: &str = "node-agent";

/// Header that names the caller's span, as the W3C says.
const TRACE_PARENT: &str = "traceparent";

/// How long an agent that ends waits for its last spans to be taken.
const LAST: Duration = Duration::from_secs(3);

/// Where spans go. What is absent is as the environment says, in the variables of OpenTelemetry's
/// specification.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceConfig {
    /// URL of a collector that speaks OTLP over gRPC, such as `http://127.0.0.1:4317`.
    pub endpoint: Option<String>,
    /// Share of the calls that are traced whose caller does not say, from 0 to 1.
    pub sample_ratio: Option<f64>,
    /// How long the collector may take for one batch.
    pub timeout: Duration,
}

/// Exports spans until it is dropped.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Prepares the export; nobody is connected to yet. Must be called inside a tokio runtime,
    /// which carries the export.
    pub(crate) fn open(config: &TraceConfig) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder().with_tonic();
        let mut exporter = exporter.with_timeout(config.timeout);
        if let Some(endpoint) = &config.endpoint {
            exporter = exporter.with_endpoint(endpoint);
        }
        let mut provider = SdkTracerProvider::builder()
            .with_batch_exporter(Told::new(exporter.build()?))
            .with_resource(resource());
        if let Some(ratio) = config.sample_ratio {
            let sampler = Sampler::TraceIdRatioBased(ratio);
            provider = provider.with_sampler(Sampler::ParentBased(Box::new(sampler)));
        }
        let provider = provider.build();
        opentelemetry::global::set_tracer_provider(provider.clone());
        Ok(Self(provider))
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.0.tracer(SERVICE)
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST) {
            tracing::debug!(error = %error, "last spans not exported");
        }
    }
}

fn resource() -> Resource {
    let resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_some() {
        return resource.build();
    }
    resource.with_service_name(SERVICE).build()
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0
            .keys()
            .map(hyper::header::HeaderName::as_str)
            .collect()
    }
}

/// Puts a span below the one that the caller names in its headers, if it names one and spans are
/// exported. The span must not have been entered.
pub fn follow_caller(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() || !headers.contains_key(TRACE_PARENT) {
        return;
    }
    let context = TraceContextPropagator::new().extract(&Headers(headers));
    // Without an exporter nobody sees the span.
    let _ = span.set_parent(context);
}

/// Adds a span below the current one for work that is over, done by somebody who told when.
pub fn past_span(name: &'static str, from: SystemTime, to: SystemTime) {
    let current = Span::current();
    if current.is_disabled() {
        return;
    }
    let parent = current.context();
    if !parent.span().span_context().is_sampled() {
        return;
    }
    let tracer = opentelemetry::global::tracer(SERVICE);
    let span = tracer.span_builder(name).with_start_time(from);
    span.start_with_context(&tracer, &parent)
        .end_with_timestamp(to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_span_is_read_from_its_headers() {
        let mut headers = HeaderMap::new();
        let value = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert(TRACE_PARENT, value.parse().unwrap());
        let context = TraceContextPropagator::new().extract(&Headers(&headers));
        let span = context.span().span_context().clone();
        assert_eq!(
            span.trace_id().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(span.span_id().to_string(), "b7ad6b7169203331");
        headers.insert(TRACE_PARENT, "00-nonsense".parse().unwrap());
        let context = TraceContextPropagator::new().extract(&Headers(&headers));
        assert!(!context.span().span_context().is_valid());
    }

    #[test]
    fn without_an_exporter_nothing_comes_of_a_span() {
        let now = SystemTime::now();
        past_span("nobody sees it", now, now);
        follow_caller(&Span::none(), &HeaderMap::new());
    }
}
