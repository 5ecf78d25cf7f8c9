//! Streams as channels of one WebSocket.

use std::sync::Arc;

use fastwebsockets::{Frame, Payload, Role, WebSocketWrite, after_handshake_split};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::codec::Codec;
use super::reader::{Control, Reading};
use crate::inflow::{self, Inflow};
use crate::outlet::ROOM;
use crate::transport::{Gone, LINGER, Transport, Writer};

/// Bytes from a client that may wait in one channel.
const CAPACITY: usize = 64 << 10;

/// Bytes from a client that may wait in all its channels, where these are many.
const ALL_CAPACITY: usize = 2 << 20;

/// Close code of a connection that has done what it was for.
const NORMAL: u16 = 1000;

/// The writing half; a frame that was cut short leaves it torn.
pub(super) struct Sink {
    socket: WebSocketWrite<Writer>,
    torn: bool,
}

impl Sink {
    pub(super) async fn write(&mut self, frame: Frame<'_>) -> Result<(), Gone> {
        if self.torn {
            return Err(Gone);
        }
        self.torn = true;
        self.socket.write_frame(frame).await.map_err(|_| Gone)?;
        self.torn = false;
        Ok(())
    }
}

/// What all channels of a connection share.
pub(super) type Shared = Arc<Mutex<Sink>>;

/// A WebSocket whose messages name a channel.
pub(crate) struct Channels {
    sink: Shared,
    codec: Codec,
    reading: JoinHandle<()>,
    /// Set once the client has left.
    gone: CancellationToken,
}

impl Channels {
    /// Starts reading; returns the streams of the channels in `inputs`, in their order.
    pub(crate) fn open(transport: Transport, codec: Codec, inputs: &[u8]) -> (Self, Vec<Inflow>) {
        let (reader, writer) =
            after_handshake_split(transport.reader, transport.writer, Role::Server);
        let sink = Arc::new(Mutex::new(Sink {
            socket: writer,
            torn: false,
        }));
        let gone = CancellationToken::new();
        let mut feeds = Vec::new();
        let mut inflows = Vec::new();
        let capacity = CAPACITY.min(ALL_CAPACITY / inputs.len().max(1));
        for channel in inputs {
            let (feed, inflow) = inflow::queue(capacity);
            feeds.push((*channel, feed));
            inflows.push(inflow);
        }
        let control = Control::start(Arc::clone(&sink));
        let reading = Reading::new(reader, feeds, codec, control, transport.hangup);
        let done = gone.clone().drop_guard();
        let reading = tokio::spawn(async move {
            reading.run().await;
            drop(done);
        });
        let channels = Self {
            sink,
            codec,
            reading,
            gone,
        };
        (channels, inflows)
    }

    /// Returns the writing end of a channel.
    pub(crate) fn channel(&self, number: u8) -> Channel {
        Channel {
            sink: Arc::clone(&self.sink),
            codec: self.codec,
            number,
        }
    }

    /// Returns what is set once the client has left.
    pub(crate) fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// Says good-bye and waits a little for the client's.
    pub(crate) async fn close(mut self) {
        let closing = async {
            let mut sink = self.sink.lock().await;
            // The client may have left.
            if sink.write(Frame::close(NORMAL, b"")).await.is_ok() {
                drop(sink);
                // Bytes that nobody has read would turn our end into a reset, and the client
                // would lose what is on its way.
                drop((&mut self.reading).await);
            }
        };
        drop(tokio::time::timeout(LINGER, closing).await);
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// The writing end of a channel.
#[derive(Clone)]
pub(crate) struct Channel {
    sink: Shared,
    codec: Codec,
    number: u8,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Channel").field(&self.number).finish()
    }
}

impl Channel {
    /// Sends what follows the first [`ROOM`] bytes as one message.
    pub(crate) async fn send(&self, buffer: &mut [u8]) -> Result<(), Gone> {
        let mut sink = self.sink.lock().await;
        match self.codec {
            Codec::Binary => {
                buffer[ROOM - 1] = self.number;
                let payload = Payload::Borrowed(&buffer[ROOM - 1..]);
                sink.write(Frame::binary(payload)).await
            }
            Codec::Base64 => {
                let text = Codec::text(self.number, &buffer[ROOM..]);
                sink.write(Frame::text(Payload::Owned(text))).await
            }
        }
    }
}
