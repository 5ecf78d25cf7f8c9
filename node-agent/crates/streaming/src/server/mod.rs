//! The HTTP server: takes connections, checks what is asked, redeems the ticket, upgrades.
//!
//! Owns: the listening socket, the limits on clients that have not been upgraded yet, and the
//! time-out of those that have. Start reading at [`Bound::serve`].

mod negotiate;
mod request;
mod upgraded;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;

/// How long a client may take to send its request.
const REQUEST: Duration = Duration::from_secs(10);

/// Largest head of a request, in bytes.
const MAX_HEAD: usize = 32 << 10;

/// Pause after the kernel had no descriptor for a connection.
const BREATH: Duration = Duration::from_millis(50);

/// Seconds without a byte after which the kernel asks whether a client is still there, then the
/// seconds between its questions, and how many go unanswered.
const KEEPALIVE: (u64, u64, u32) = (30, 10, 6);

/// What the server was told to be.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes any.
    pub listen: SocketAddr,
    /// A client is cut off when nothing went either way for so long.
    pub idle_timeout: Duration,
    /// Time that a client has to open the streams it was granted.
    pub stream_timeout: Duration,
    /// Clients served at a time; further ones wait to be taken.
    pub max_clients: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            idle_timeout: Duration::from_secs(4 * 3600),
            stream_timeout: Duration::from_secs(30),
            max_clients: 1000,
        }
    }
}

/// Why the server could not listen.
#[derive(Debug, thiserror::Error)]
#[error("streaming server could not listen on {address}")]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

/// A server that listens and does not serve yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    config: Config,
}

/// Listens where the configuration says.
///
/// # Errors
/// When the address is taken, or not this machine's.
pub async fn bind(config: Config) -> Result<Bound, BindError> {
    let failed = |source| BindError {
        address: config.listen,
        source,
    };
    let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound {
        listener,
        address,
        config,
    })
}

impl Bound {
    /// Returns the start of every URL, such as `http://127.0.0.1:34567`. A server that listens on
    /// all addresses is named by loopback: whoever asks for a URL is on this machine.
    #[must_use]
    pub fn base_url(&self) -> String {
        let host = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(host, self.address.port()))
    }

    /// Serves until told to stop; clients that are served then are cut off.
    pub async fn serve<B: Backend>(self, backend: Arc<B>, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(self.config.max_clients));
        let server = Arc::new(Server {
            backend,
            config: self.config,
            stop: stop.clone(),
        });
        let accepting = async {
            while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
                match self.listener.accept().await {
                    Ok((client, _)) => {
                        tokio::spawn(Arc::clone(&server).client(client, permit));
                    }
                    Err(error) => {
                        tracing::warn!(error = %error, "streaming client not taken");
                        tokio::time::sleep(BREATH).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            () = stop.cancelled() => {}
        }
    }
}

/// What every client's task needs.
struct Server<B> {
    backend: Arc<B>,
    config: Config,
    stop: CancellationToken,
}

impl<B: Backend> Server<B> {
    /// Serves one client's one request.
    async fn client(self: Arc<Self>, client: TcpStream, permit: OwnedSemaphorePermit) {
        prepare(&client);
        // Shared, as the upgraded connection goes on in a task of its own.
        let permit = Arc::new(permit);
        let stop = self.stop.clone();
        let service = service_fn(move |request| {
            let server = Arc::clone(&self);
            let permit = Arc::clone(&permit);
            async move { Ok::<_, std::convert::Infallible>(server.answer(request, permit)) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(client), service)
            .with_upgrades();
        tokio::select! {
            served = connection => if let Err(error) = served {
                tracing::debug!(error = %error, "streaming client broke off");
            },
            () = stop.cancelled() => {}
        }
    }
}

/// Has the kernel send at once, and find out about clients that are gone.
fn prepare(client: &TcpStream) {
    use rustix::net::sockopt;
    let (idle, interval, count) = KEEPALIVE;
    let set = client
        .set_nodelay(true)
        .and_then(|()| Ok(sockopt::set_socket_keepalive(client, true)?))
        .and_then(|()| {
            Ok(sockopt::set_tcp_keepidle(
                client,
                Duration::from_secs(idle),
            )?)
        })
        .and_then(|()| {
            Ok(sockopt::set_tcp_keepintvl(
                client,
                Duration::from_secs(interval),
            )?)
        })
        .and_then(|()| Ok(sockopt::set_tcp_keepcnt(client, count)?));
    if let Err(error) = set {
        tracing::debug!(error = %error, "streaming client's socket left as it is");
    }
}
