//! One stream on its way to a client, whichever protocol carries it.

use crate::socket::Channel;
use crate::spdy::Outflow;
use crate::transport::Gone;

/// Bytes that a buffer keeps free at its front: the carrier writes its own header there, so that
/// what was read goes out without being copied.
pub(crate) const ROOM: usize = 8;

/// One stream to a client.
#[derive(Debug)]
pub(crate) enum Outlet {
    /// A SPDY stream.
    Spdy(Outflow),
    /// A channel of a WebSocket.
    Socket(Channel),
}

impl Outlet {
    /// Waits until bytes may be sent and returns how many, at most `most`. Each call
    /// is followed by [`Outlet::settle`].
    pub(crate) async fn reserve(&self, most: usize) -> Result<usize, Gone> {
        match self {
            Self::Spdy(stream) => stream.reserve(most).await,
            Self::Socket(_) => Ok(most),
        }
    }

    /// Says how many of the reserved bytes are about to be sent.
    pub(crate) fn settle(&self, reserved: usize, used: usize) {
        match self {
            Self::Spdy(stream) => stream.settle(reserved, used),
            Self::Socket(_) => {}
        }
    }

    /// Sends what follows the first [`ROOM`] bytes; as many were reserved.
    pub(crate) async fn send(&self, buffer: &mut [u8]) -> Result<(), Gone> {
        match self {
            Self::Spdy(stream) => stream.send(buffer).await,
            Self::Socket(channel) => channel.send(buffer).await,
        }
    }

    /// Sends a few bytes.
    pub(crate) async fn say(&self, text: &[u8]) -> Result<(), Gone> {
        let mut rest = text;
        while !rest.is_empty() {
            let count = self.reserve(rest.len()).await?;
            self.settle(count, count);
            let (now, later) = rest.split_at(count.min(rest.len()));
            let mut buffer = vec![0; ROOM];
            buffer.extend_from_slice(now);
            self.send(&mut buffer).await?;
            rest = later;
        }
        Ok(())
    }

    /// Returns once the client has given this stream up, though not its connection.
    pub(crate) async fn given_up(&self) {
        match self {
            Self::Spdy(stream) => stream.given_up().await,
            // A channel is given up with its connection.
            Self::Socket(_) => std::future::pending().await,
        }
    }

    /// Ends the stream.
    pub(crate) async fn finish(&self) -> Result<(), Gone> {
        match self {
            Self::Spdy(stream) => stream.finish().await,
            // A channel has no end but that of its connection.
            Self::Socket(_) => Ok(()),
        }
    }
}
