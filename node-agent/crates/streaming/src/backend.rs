//! What the streams lead to: the other side of this crate.

use std::error::Error;
use std::os::fd::OwnedFd;
use std::pin::Pin;

use tokio::net::TcpStream;

/// What a ticket is for; the first segment of its URL's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A further process in a container.
    Exec,
    /// A container's main process.
    Attach,
    /// Ports of a sandbox.
    PortForward,
}

impl Kind {
    /// Returns the kind that a path segment names.
    #[must_use]
    pub fn from_segment(segment: &str) -> Option<Self> {
        match segment {
            "exec" => Some(Self::Exec),
            "attach" => Some(Self::Attach),
            "portforward" => Some(Self::PortForward),
            _ => None,
        }
    }
}

/// What the standard streams of a process are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Pipes.
    Pipes,
    /// One terminal, which has no error output of its own.
    Terminal,
}

/// The streams that a ticket grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// What they are.
    pub style: Style,
}

/// What a ticket grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// The streams of a process.
    Command(Streams),
    /// Connections to ports. Those named are what a WebSocket without further headers forwards;
    /// SPDY names its ports itself.
    Forward {
        /// Ports, in the order of their channels.
        ports: Vec<u16>,
    },
}

/// Why something was not done, in words for the client.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Failure(Box<dyn Error + Send + Sync>);

impl Failure {
    /// Wraps the error of whoever was asked.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// Returns the error and its causes in one line.
    #[must_use]
    pub fn text(&self) -> String {
        agent_telemetry::chain(self).to_string()
    }
}

/// A future that a [`Control`] returns.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What can be asked about a process.
pub trait Control: Send + Sync {
    /// Sets the size of its terminal, in characters; a process without one, or that has ended, is
    /// left alone.
    fn resize(&self, rows: u16, columns: u16) -> Answer<'_, ()>;

    /// Waits for its end and returns its exit code: `None` where the streams end without one, as
    /// those of an attachment do. May be called again after it was cancelled.
    fn ended(&mut self) -> Answer<'_, Result<Option<i32>, Failure>>;

    /// As [`Control::ended`], once all output has come to its end: whoever knows that there cannot
    /// be more to wait for may say so.
    fn fell_silent(&mut self) -> Answer<'_, Result<Option<i32>, Failure>>;

    /// Takes note that nobody reads its output any more.
    fn abandon(&self) -> Answer<'_, ()>;
}

/// A process whose streams are at hand; no descriptor may block.
pub struct Process {
    /// Where its input is written.
    pub stdin: Option<OwnedFd>,
    /// Where its output, or that of its terminal, is read.
    pub stdout: Option<OwnedFd>,
    /// Where its error output is read.
    pub stderr: Option<OwnedFd>,
    /// What can be asked about it.
    pub control: Box<dyn Control>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process")
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .finish_non_exhaustive()
    }
}

/// Whoever issued the tickets and owns what they are for.
pub trait Backend: Send + Sync + 'static {
    /// What a ticket stands for.
    type Ticket: Send + Sync + 'static;

    /// Takes a ticket that was not taken before and is not too old.
    fn redeem(&self, kind: Kind, token: &str) -> Option<(Grant, Self::Ticket)>;

    /// Starts or attaches to the process of a ticket.
    ///
    /// # Errors
    /// What the client is told.
    fn run(
        &self,
        ticket: Self::Ticket,
    ) -> impl Future<Output = Result<Process, Failure>> + Send + '_;

    /// Connects to a port of a ticket's sandbox, on its loopback.
    ///
    /// # Errors
    /// What the client is told.
    fn connect<'a>(
        &'a self,
        ticket: &'a Self::Ticket,
        port: u16,
    ) -> impl Future<Output = Result<TcpStream, Failure>> + Send + 'a;
}
