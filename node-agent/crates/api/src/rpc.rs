//! How often each method is called, how it is answered, and how long that takes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use agent_telemetry::metrics::{Counter, Family, Histogram, Registry, seconds};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tonic::codegen::http::Response;

/// Name of the code of a success.
const OK: &str = "OK";

/// Names of the codes, by their numbers.
const CODES: [&str; 17] = [
    OK,
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What a call that names no method of ours is counted as.
const OTHER: &str = "other";

type Counts = Family<[(&'static str, String); 2], Counter>;
type Durations = Family<[(&'static str, String); 1], Histogram, fn() -> Histogram>;

/// A method, with everything counted of it.
#[derive(Debug)]
struct Method {
    name: String,
    duration: Histogram,
    answered: Counter,
}

impl Method {
    fn new(name: &str, counts: &Counts, durations: &Durations) -> Self {
        let duration = durations.get_or_create(&[("method", name.to_owned())]);
        Self {
            name: name.to_owned(),
            duration: duration.clone(),
            answered: counts.get_or_create(&labels(name, OK)).clone(),
        }
    }
}

fn labels(method: &str, code: &str) -> [(&'static str, String); 2] {
    [("method", method.to_owned()), ("code", code.to_owned())]
}

/// Counts the calls of each method.
#[derive(Debug)]
pub struct Calls {
    /// By the path of the request.
    methods: HashMap<String, Method>,
    other: Method,
    /// The counters of refusals are made when there are any: most methods know few of the codes.
    counts: Counts,
    open: agent_telemetry::metrics::Gauge,
}

/// A call that is being answered.
#[derive(Debug)]
pub(crate) struct Call {
    calls: Arc<Calls>,
    path: String,
    begun: Instant,
}

impl Calls {
    /// Makes the counters of every method of CRI and `agent.v1`, and adds them to `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Arc<Self> {
        let counts = Counts::default();
        let durations = Durations::new_with_constructor(seconds);
        let open = agent_telemetry::metrics::Gauge::default();
        let method = |path: String| {
            let name = path.trim_start_matches('/');
            let method = Method::new(name, &counts, &durations);
            (path, method)
        };
        let calls = Self {
            methods: paths().into_iter().map(method).collect(),
            other: Method::new(OTHER, &counts, &durations),
            counts: counts.clone(),
            open: open.clone(),
        };
        registry.register(
            "node_agent_rpc_requests",
            "Calls that were answered, by method and code",
            counts,
        );
        let help = "Time until the answer, or until a stream begins, by method";
        registry.register("node_agent_rpc_duration_seconds", help, durations);
        let help = "Calls that are being answered, streams until they end left out";
        registry.register("node_agent_rpc_open_requests", help, open);
        Arc::new(calls)
    }

    /// Notes that a call has come.
    pub(crate) fn begin(self: &Arc<Self>, path: &str) -> Call {
        self.open.inc();
        Call {
            calls: Arc::clone(self),
            path: path.to_owned(),
            begun: Instant::now(),
        }
    }
}

impl Call {
    /// Notes and returns how it was answered.
    pub(crate) fn answered<B>(self, response: &Response<B>) -> Code {
        let method = self.calls.methods.get(&self.path);
        let method = method.unwrap_or(&self.calls.other);
        method.duration.observe(self.begun.elapsed().as_secs_f64());
        // What fails at once has its code in the headers; a stream that fails later was answered.
        let code = tonic::Status::from_header_map(response.headers());
        let code = code.map_or(Code::Ok, |status| status.code());
        if code == Code::Ok {
            method.answered.inc();
            return code;
        }
        let index = usize::try_from(i32::from(code)).ok();
        if let Some(name) = index.and_then(|index| CODES.get(index)) {
            let counts = &self.calls.counts;
            counts.get_or_create(&labels(&method.name, name)).inc();
        }
        code
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.open.dec();
    }
}

/// Returns the path of every method that is served.
fn paths() -> Vec<String> {
    let Ok(set) = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                all.push(format!(
                    "/{}.{}/{}",
                    file.package(),
                    service.name(),
                    method.name()
                ));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_telemetry::metrics::text;

    #[test]
    fn calls_are_counted_by_method_and_code() {
        let mut registry = Registry::default();
        let calls = Calls::register(&mut registry);
        let path = "/runtime.v1.RuntimeService/Version";
        calls.begin(path).answered(&Response::new(()));
        let refused = tonic::Status::not_found("x").into_http::<tonic::body::Body>();
        calls.begin(path).answered(&refused);
        calls.begin("/no.such/Method").answered(&refused);
        let running = calls.begin(path);
        let text = text(&registry).unwrap();
        drop(running);
        let method = "method=\"runtime.v1.RuntimeService/Version\"";
        for line in [
            format!("node_agent_rpc_requests_total{{{method},code=\"OK\"}} 1"),
            format!("node_agent_rpc_requests_total{{{method},code=\"NOT_FOUND\"}} 1"),
            "node_agent_rpc_requests_total{method=\"other\",code=\"NOT_FOUND\"} 1".to_owned(),
            format!("node_agent_rpc_duration_seconds_count{{{method}}} 2"),
            "node_agent_rpc_open_requests 1".to_owned(),
        ] {
            assert!(text.contains(&line), "{line} is not in {text}");
        }
        // What never happened is not listed.
        let refused = text
            .lines()
            .filter(|line| line.contains("code=\"NOT_FOUND\""));
        assert_eq!(refused.count(), 2);
    }

    #[test]
    fn every_code_has_its_name() {
        for (number, name) in CODES.iter().enumerate() {
            let code = Code::from(i32::try_from(number).unwrap());
            let debug = format!("{code:?}").to_uppercase();
            assert_eq!(name.replace('_', ""), debug);
        }
    }
}
