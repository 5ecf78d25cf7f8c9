//! The endpoint that metrics are read from: HTTP, or HTTPS with a certificate.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// What the text is.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What clients may take of the agent.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections at a time; further ones wait.
    connections: usize,
    /// How long a client may take to say what it wants, or to agree on a cipher.
    question: Duration,
    /// How long it may take to ask and to read the answer: as long as Prometheus has by default,
    /// and more.
    conversation: Duration,
}

const LIMITS: Limits = Limits {
    connections: 32,
    question: Duration::from_secs(10),
    conversation: Duration::from_secs(30),
};

/// Certificate and key of the endpoint, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those that lead to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Where metrics are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointConfig {
    /// The address; port 0 takes any.
    pub listen: SocketAddr,
    /// Absent: plain HTTP.
    pub tls: Option<TlsFiles>,
}

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("metrics cannot be served on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A file is none of certificates, or of a key.
    #[error("{} cannot be read as PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key are not fit for use, or not for each other.
    #[error("{} cannot be served with its key", certificate.display())]
    Tls {
        /// The certificate.
        certificate: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The endpoint, listening.
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    limits: Limits,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Listens, and reads the certificate.
    ///
    /// # Errors
    /// When the address is taken, or certificate and key do not do.
    pub async fn bind(config: &EndpointConfig) -> Result<Self, BindError> {
        let failed = |source| BindError::Listen {
            address: config.listen,
            source,
        };
        let tls = config.tls.as_ref().map(acceptor).transpose()?;
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            tls,
            limits: LIMITS,
        })
    }

    /// Returns the address that is listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped.
    pub async fn serve(self, registry: Registry) {
        let registry = Arc::new(registry);
        let room = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let Ok(seat) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // No descriptors are left, most likely: others will be closed.
                    tracing::debug!(error = %error, "metrics client not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (registry, tls) = (Arc::clone(&registry), self.tls.clone());
            let limits = self.limits;
            tokio::spawn(async move {
                if let Err(error) = converse(stream, tls, registry, limits).await {
                    tracing::debug!(error = %error, "metrics client left");
                }
                drop(seat);
            });
        }
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, BindError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| BindError::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable(&files.key))?;
    let unfit = |source| BindError::Tls {
        certificate: files.certificate.clone(),
        source,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unfit)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn converse(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    registry: Arc<Registry>,
    limits: Limits,
) -> io::Result<()> {
    match tls {
        Some(tls) => {
            let stream = tokio::time::timeout(limits.question, tls.accept(stream)).await??;
            answer(stream, registry, limits).await
        }
        None => answer(stream, registry, limits).await,
    }
}

/// Answers once. Who asks again connects again, so that a limit holds for all that a client takes.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    registry: Arc<Registry>,
    limits: Limits,
) -> io::Result<()> {
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let registry = Arc::clone(&registry);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        async move {
            // Collectors read files.
            let response =
                tokio::task::spawn_blocking(move || respond(&method, &path, &registry)).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|_| failed()))
        }
    });
    let conversation = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.question)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::time::timeout(limits.conversation, conversation)
        .await?
        .map_err(io::Error::other)
}

fn failed() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

fn respond(method: &Method, path: &str, registry: &Registry) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if path != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
        *response.body_mut() = Full::from("metrics are at /metrics\n");
    } else if method != Method::GET {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    } else if let Ok(text) = super::text(registry) {
        let kind = hyper::header::HeaderValue::from_static(OPEN_METRICS);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        *response.body_mut() = Full::from(text);
    } else {
        response = failed();
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::metrics::Gauge;

    #[test]
    fn only_metrics_are_read() {
        let registry = Registry::default();
        let status = |method: &Method, path| respond(method, path, &registry).status();
        assert_eq!(status(&Method::GET, "/metrics"), StatusCode::OK);
        assert_eq!(
            status(&Method::POST, "/metrics"),
            StatusCode::METHOD_NOT_ALLOWED
        );
        assert_eq!(status(&Method::GET, "/"), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_certificate_that_is_none_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cert.pem");
        std::fs::write(&file, "nothing").unwrap();
        let config = EndpointConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            tls: Some(TlsFiles {
                certificate: file.clone(),
                key: file.clone(),
            }),
        };
        let error = Endpoint::bind(&config).await.unwrap_err();
        assert!(error.to_string().contains("cert.pem"), "{error}");
    }

    /// More than a connection takes up while nobody reads.
    fn large() -> Registry {
        let mut registry = Registry::default();
        let help = "x".repeat(24 << 20);
        registry.register("large", help, Gauge::<i64>::default());
        registry
    }

    /// Reads to the end; returns how much that was.
    async fn read_all(mut stream: TcpStream) -> usize {
        let mut buffer = vec![0; 1 << 20];
        let mut length = 0;
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return length,
                Ok(more) => length += more,
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_does_not_read_the_answer_does_not_keep_its_seat() {
        let config = EndpointConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            tls: None,
        };
        let mut endpoint = Endpoint::bind(&config).await.unwrap();
        endpoint.limits.connections = 2;
        endpoint.limits.conversation = Duration::from_secs(1);
        let address = endpoint.address();
        let serving = tokio::spawn(endpoint.serve(large()));
        let ask = async || {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let question = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n";
            stream.write_all(question).await.unwrap();
            stream
        };
        let deaf = [ask().await, ask().await];
        for one in &deaf {
            one.readable().await.unwrap();
        }
        // They have both seats now. One that reads gets all of it in the end, whatever else the
        // machine does.
        let read = async { while read_all(ask().await).await < 24 << 20 {} };
        let in_time = tokio::time::timeout(Duration::from_secs(60), read);
        assert!(in_time.await.is_ok(), "their seats are kept");
        serving.abort();
        drop(deaf);
    }
}
