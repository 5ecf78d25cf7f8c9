//! A connection that has been upgraded, as two halves.

use std::io::Cursor;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;

use crate::activity::{Activity, Noted};
use crate::hangup::Hangup;

/// How long a client may take to close its side once ours is closed.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// What a client is read from.
pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// What a client is written to.
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// The client has left, or broke the protocol.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has left")]
pub(crate) struct Gone;

/// Both halves, and how to hear of the client's leaving.
pub(crate) struct Transport {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) hangup: Hangup,
    pub(crate) activity: Activity,
}

impl Transport {
    /// Takes over a socket; `early` was read from it already.
    pub(crate) fn over(socket: TcpStream, early: Bytes) -> std::io::Result<Self> {
        let hangup = Hangup::of(&socket)?;
        let activity = Activity::new();
        let (reader, writer) = socket.into_split();
        Ok(Self {
            reader: Box::new(Noted::new(
                Cursor::new(early).chain(reader),
                activity.clone(),
            )),
            writer: Box::new(Noted::new(writer, activity.clone())),
            hangup,
            activity,
        })
    }
}
