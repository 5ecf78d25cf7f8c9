//! A collector of spans, as agents export them over OTLP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::agent::Options;
use crate::wait;

/// A collector; it ends when it is dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    _running: oneshot::Sender<()>,
}

/// What a caller says of its own span.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// The trace that it is part of.
    pub trace: u128,
    /// The span.
    pub span: u64,
    /// Whether the caller's spans are exported.
    pub sampled: bool,
}

/// Spans that have arrived.
#[derive(Debug)]
pub struct Spans(Vec<Span>);

/// Keeps what it gets.
struct Kept(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts a collector on a thread of its own, so that it also takes what an agent sends while
    /// a test waits for the agent's end.
    pub fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("listen for spans")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let spans = Arc::default();
        let (running, ended) = oneshot::channel::<()>();
        let kept = TraceServiceServer::new(Kept(Arc::clone(&spans)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                let server = tonic::transport::Server::builder().add_service(kept);
                let ended = async { drop(ended.await) };
                server
                    .serve_with_incoming_shutdown(TcpListenerStream::new(listener), ended)
                    .await?;
                anyhow::Ok(())
            })
        });
        Ok(Self {
            address,
            spans,
            _running: running,
        })
    }

    /// Returns the options of an agent that sends its spans here, and soon.
    #[must_use]
    pub fn options(&self, options: Options) -> Options {
        self.lazy_options(options)
            .with_variable("OTEL_BSP_SCHEDULE_DELAY", "50")
    }

    /// Returns the options of an agent that sends its spans here every few seconds.
    #[must_use]
    pub fn lazy_options(&self, options: Options) -> Options {
        options.with("traces", format!("endpoint = \"http://{}\"", self.address))
    }

    /// Returns once `look` finds what it looks for among the spans that have arrived.
    pub async fn shows(&self, look: impl Fn(&Spans) -> Result<()>) -> Result<()> {
        wait::until_async("spans arrive", || async {
            look(&self.spans())?;
            Ok(Some(()))
        })
        .await
    }

    /// Returns what has arrived.
    #[must_use]
    pub fn spans(&self) -> Spans {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        Spans(spans.clone())
    }
}

impl Caller {
    /// Returns a request that names the caller's span.
    pub fn request<T>(&self, message: T) -> Result<Request<T>> {
        let flags = u8::from(self.sampled);
        let parent = format!("00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span);
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("traceparent", parent.parse()?);
        Ok(request)
    }
}

impl Spans {
    /// Returns the spans of this trace.
    #[must_use]
    pub fn of_trace(&self, trace: u128) -> Self {
        let spans = self.0.iter();
        let of_trace = spans.filter(|span| span.trace_id == trace.to_be_bytes());
        Self(of_trace.cloned().collect())
    }

    /// Returns how many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns a span by its name.
    pub fn named(&self, name: &str) -> Result<&Span> {
        let found = self.0.iter().find(|span| span.name == name);
        found.with_context(|| format!("no {name} among {:?}", self.names()))
    }

    /// Returns the spans of this name directly below a span of this id.
    #[must_use]
    pub fn below(&self, parent: &[u8], name: &str) -> Vec<&Span> {
        let spans = self.0.iter();
        spans
            .filter(|span| span.name == name && span.parent_span_id == parent)
            .collect()
    }

    /// Returns the span that a path of names leads to, from the one of this id downwards.
    pub fn path(&self, from: &[u8], names: &[&str]) -> Result<&Span> {
        let mut parent = from;
        let mut found = None;
        for name in names {
            let below = self.below(parent, name);
            let span = below.first().copied();
            let span =
                span.with_context(|| format!("no {name} of {names:?} among {:?}", self.names()))?;
            parent = &span.span_id;
            found = Some(span);
        }
        found.context("no name was given")
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|span| span.name.as_str()).collect()
    }
}
