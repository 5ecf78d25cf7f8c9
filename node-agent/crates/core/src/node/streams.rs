//! Tickets for streams, and connections to ports of a sandbox.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use agent_shim_client::Attach;
use agent_types::{Classify, ErrorKind, Owner, SandboxId};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::{TcpSocket, TcpStream};

use super::Node;
use super::index::Found;
use crate::exec::ExecSpec;
use crate::sandbox::Live;
use crate::ticket::{Ticket, TicketError};

/// How long a connection to a port may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a pod's programs listen for their own: IPv4 first, as names resolve.
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// Why a port of a sandbox could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// There is no such sandbox.
    #[error("sandbox {id} does not exist")]
    NotFound {
        /// As the caller named it.
        id: String,
    },
    /// There is no such container.
    #[error("container {id} does not exist")]
    NoContainer {
        /// As the caller named it.
        id: String,
    },
    /// The prefix fits more than one.
    #[error("sandbox {id} is not the only one whose id begins so")]
    Ambiguous {
        /// As the caller named it.
        id: String,
    },
    /// It does not stand.
    #[error("sandbox {id} is not ready")]
    NotReady {
        /// The sandbox.
        id: SandboxId,
    },
    /// No socket could be made in its network.
    #[error("no socket could be opened in the network of sandbox {id}")]
    Socket {
        /// The sandbox.
        id: SandboxId,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Nobody took the connection.
    #[error("connection to port {port} on the loopback of sandbox {id} failed")]
    Connect {
        /// The sandbox.
        id: SandboxId,
        /// The port.
        port: u16,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl Classify for ForwardError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } | Self::NoContainer { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. } => ErrorKind::InvalidArgument,
            Self::NotReady { .. } => ErrorKind::FailedPrecondition,
            Self::Socket { .. } => ErrorKind::Internal,
            Self::Connect { .. } => ErrorKind::Unavailable,
        }
    }
}

impl Node {
    /// Returns a token that lets its bearer run a process in a container, once and soon.
    ///
    /// # Errors
    /// When the container does not run.
    pub fn exec_ticket(
        &self,
        owner: Owner,
        id: &str,
        spec: ExecSpec,
        streams: Attach,
    ) -> Result<String, TicketError> {
        let container = self.target(owner, id)?.record.id.clone();
        self.tickets.issue(Ticket::Exec {
            owner,
            container,
            spec: Box::new(spec),
            streams,
        })
    }

    /// Returns a token that lets its bearer attach to a container, once and soon.
    ///
    /// # Errors
    /// When the container does not run.
    pub fn attach_ticket(
        &self,
        owner: Owner,
        id: &str,
        streams: Attach,
        terminal: bool,
    ) -> Result<String, TicketError> {
        let container = self.target(owner, id)?.record.id.clone();
        self.tickets.issue(Ticket::Attach {
            owner,
            container,
            streams,
            terminal,
        })
    }

    /// Returns a token that lets its bearer connect to ports of a sandbox, once and soon.
    ///
    /// # Errors
    /// When the sandbox does not stand.
    pub fn port_forward_ticket(
        &self,
        owner: Owner,
        id: &str,
        ports: Vec<u16>,
    ) -> Result<String, TicketError> {
        let (sandbox, _) = self.reachable(owner, id)?;
        self.tickets.issue(Ticket::PortForward {
            owner,
            sandbox,
            ports,
        })
    }

    /// Takes a ticket that `fits`, is not too old and was not taken before.
    pub fn redeem(&self, token: &str, fits: impl Fn(&Ticket) -> bool) -> Option<Ticket> {
        self.tickets.redeem(token, fits)
    }

    fn reachable(&self, owner: Owner, id: &str) -> Result<(SandboxId, Arc<Live>), ForwardError> {
        let id = id.to_owned();
        let handle = match self.index.sandbox(owner, &id) {
            Found::One(handle) => handle,
            Found::None => return Err(ForwardError::NotFound { id }),
            Found::Many => return Err(ForwardError::Ambiguous { id }),
        };
        let id = handle.record.id.clone();
        match handle.view().live.clone() {
            Some(live) => Ok((id, live)),
            None => Err(ForwardError::NotReady { id }),
        }
    }

    /// As [`Node::connect`], to a port of the sandbox that a container is in; a container is named
    /// as everywhere.
    ///
    /// # Errors
    /// When there is no such container, or as [`Node::connect`].
    pub async fn connect_container(
        &self,
        owner: Owner,
        container: &str,
        port: u16,
    ) -> Result<TcpStream, ForwardError> {
        let id = container.to_owned();
        let sandbox = match self.find(owner, container) {
            Found::One((_, handle)) => handle.record.id.clone(),
            Found::None => return Err(ForwardError::NoContainer { id }),
            Found::Many => return Err(ForwardError::Ambiguous { id }),
        };
        self.connect(owner, &sandbox, port).await
    }

    /// Connects to a port on a sandbox's loopback, IPv4 and then IPv6, from inside its network and
    /// without any process there.
    ///
    /// # Errors
    /// [`ForwardError::Connect`] when nobody takes the connection.
    pub async fn connect(
        &self,
        owner: Owner,
        sandbox: &SandboxId,
        port: u16,
    ) -> Result<TcpStream, ForwardError> {
        let (id, live) = self.reachable(owner, sandbox.as_str())?;
        let mut failed = None;
        for address in LOOPBACK {
            let made = socket_in(Arc::clone(&live), address).await;
            let socket = made.map_err(|source| ForwardError::Socket {
                id: id.clone(),
                source,
            });
            let connecting = socket?.connect(SocketAddr::new(address, port));
            let connected = tokio::time::timeout(PATIENCE, connecting)
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
            match connected {
                Ok(stream) => return Ok(stream),
                Err(source) => {
                    failed.get_or_insert(source);
                }
            }
        }
        Err(ForwardError::Connect {
            id,
            port,
            source: failed.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into()),
        })
    }
}

/// Makes a socket in a sandbox's network; it stays there, whoever uses it.
async fn socket_in(live: Arc<Live>, address: IpAddr) -> std::io::Result<TcpSocket> {
    let family = match address {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let make = move || -> std::io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(rustix::net::socket_with(
            family,
            SocketType::STREAM,
            flags,
            None,
        )?)
    };
    let made = tokio::task::spawn_blocking(move || match &live.netns {
        Some(netns) => agent_sys::netns::run_in(netns.as_fd(), make),
        None => make(),
    });
    let fd = made.await.map_err(std::io::Error::other)??;
    Ok(TcpSocket::from_std_stream(fd.into()))
}
