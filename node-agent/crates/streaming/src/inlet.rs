//! One stream from a client, whichever protocol carries it.

use bytes::BytesMut;

use crate::inflow::Inflow;
use crate::spdy::StreamInflow;

/// One stream from a client.
pub(crate) enum Inlet {
    /// A SPDY stream.
    Spdy(StreamInflow),
    /// A channel of a WebSocket.
    Socket(Inflow),
}

impl Inlet {
    /// Returns what has come, as soon as anything has; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<BytesMut> {
        match self {
            Self::Spdy(stream) => stream.next().await,
            Self::Socket(channel) => channel.next().await,
        }
    }
}
