//! The services as one router: what every call passes through, and who answers it.
//!
//! [`Gate`] answers `UNAVAILABLE` until the node has recovered. Health and reflection answer at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use agent_core::node::Node;
use futures_util::future::BoxFuture;
use proto::agent::containers_server::ContainersServer;
use proto::agent::images_server::ImagesServer;
use proto::agent::system_server::SystemServer;
use proto::cri::image_service_server::ImageServiceServer;
use proto::cri::runtime_service_server::RuntimeServiceServer;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::agent::Agent;
use crate::cri::Cri;
use crate::rpc::Calls;

/// Largest message taken or sent, in bytes; a kubelet's own limit.
const MAX_MESSAGE: usize = 16 << 20;

/// Who the node is.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Semantic version of the agent.
    pub version: String,
    /// Commit it was built from; empty where that is not known.
    pub commit: String,
    /// Host name.
    pub host: String,
    /// Release of the running kernel.
    pub kernel: String,
    /// Name of the operating system.
    pub os: String,
    /// The bridge.
    pub bridge: String,
    /// Subnets of the built-in network.
    pub subnets: Vec<String>,
    /// Start of every URL of a stream.
    pub streams: String,
}

pub use tonic_health::ServingStatus;

/// Tells health checks whether the node serves.
pub type Reporter = tonic_health::server::HealthReporter;

/// Names of the services, by which health checks ask for them.
pub const SERVICES: [&str; 5] = [
    proto::cri::runtime_service_server::SERVICE_NAME,
    proto::cri::image_service_server::SERVICE_NAME,
    proto::agent::containers_server::SERVICE_NAME,
    proto::agent::images_server::SERVICE_NAME,
    proto::agent::system_server::SERVICE_NAME,
];

/// Returns every service of a node.
///
/// # Panics
/// Never: the descriptors are the ones this program was built with.
#[must_use]
pub fn router(node: &Node, identity: Identity) -> (Routes, Reporter) {
    let cri = Cri::new(node.clone(), identity.clone());
    let agent = Agent::new(node.clone(), identity);
    let (reporter, health) = tonic_health::server::health_reporter();
    let cri = Arc::new(cri);
    let agent = Arc::new(agent);
    macro_rules! limited {
        ($service:ident, $inner:expr) => {
            $service::from_arc($inner)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE)
        };
    }
    let mut routes = Routes::new(health)
        .add_service(limited!(RuntimeServiceServer, Arc::clone(&cri)))
        .add_service(limited!(ImageServiceServer, cri))
        .add_service(limited!(ContainersServer, Arc::clone(&agent)))
        .add_service(limited!(ImagesServer, Arc::clone(&agent)))
        .add_service(limited!(SystemServer, agent));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    match reflection {
        Ok(reflection) => routes = routes.add_service(reflection),
        Err(error) => {
            tracing::error!(error = %agent_telemetry::chain(&error), "reflection is not served");
        }
    }
    (routes, reporter)
}

/// Whether the node has recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Records are still being compared with the machine.
    Recovering,
    /// It serves.
    Serving,
}

/// Numbers the calls, to tell them apart in the log.
static REQUESTS: AtomicU64 = AtomicU64::new(1);

/// Lets calls pass once the node serves, gives each a span of its own, and counts them.
#[derive(Debug, Clone)]
pub struct Gate {
    readiness: tokio::sync::watch::Receiver<Readiness>,
    calls: Arc<Calls>,
}

impl Gate {
    /// Returns a gate that follows `readiness`.
    #[must_use]
    pub const fn new(
        readiness: tokio::sync::watch::Receiver<Readiness>,
        calls: Arc<Calls>,
    ) -> Self {
        Self { readiness, calls }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            inner,
            gate: self.clone(),
        }
    }
}

/// A service behind a [`Gate`].
#[derive(Debug, Clone)]
pub struct Gated<S> {
    inner: S,
    gate: Gate,
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = self.gate.calls.begin(request.uri().path());
        let open = *self.gate.readiness.borrow() == Readiness::Serving
            || request.uri().path().starts_with("/grpc.");
        if open {
            let span = span_of(&request);
            let answer = self.inner.call(request).instrument(span.clone());
            Box::pin(async move {
                let response = answer.await?;
                let code = call.answered(&response);
                if code != Code::Ok {
                    span.record("otel.status_code", "ERROR");
                    span.record("rpc.grpc.status_code", i32::from(code));
                }
                Ok(response)
            })
        } else {
            let response = Status::unavailable("the agent is recovering").into_http();
            call.answered(&response);
            Box::pin(async move { Ok(response) })
        }
    }
}

/// Returns a call's span, below its caller's where it names one. What is empty is filled in by
/// those who find out.
fn span_of(request: &Request<Body>) -> Span {
    let path = request.uri().path();
    let span = tracing::debug_span!(
        "rpc",
        rpc = path,
        request_id = REQUESTS.fetch_add(1, Ordering::Relaxed),
        sandbox_id = Empty,
        container_id = Empty,
        rpc.grpc.status_code = Empty,
        otel.name = path.trim_start_matches('/'),
        otel.kind = "server",
        otel.status_code = Empty,
    );
    agent_telemetry::follow_caller(&span, request.headers());
    span
}
