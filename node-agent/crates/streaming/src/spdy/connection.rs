//! A connection from its upgrade to its end.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::frame::{self, GoAway};
use super::reader::{End, Reading};
use super::sink::Sink;
use super::stream::Incoming;
use super::table::Shared;
use crate::transport::{LINGER, Transport};

/// A SPDY connection whose streams the client opens.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    incoming: mpsc::Receiver<Incoming>,
    reading: JoinHandle<()>,
    writing: JoinHandle<()>,
}

impl Connection {
    /// Starts reading; at most `streams` may be open at a time.
    pub(crate) fn open(transport: Transport, streams: usize) -> Self {
        let gone = CancellationToken::new();
        let sink = Sink::new(transport.writer, gone.clone());
        let shared = Arc::new(Shared::new(sink, gone.clone()));
        let (sender, incoming) = mpsc::channel(streams);
        let mut reading = Reading::new(
            transport.reader,
            Arc::clone(&shared),
            transport.hangup,
            sender,
            streams,
        );
        let for_reading = Arc::clone(&shared);
        let reading = tokio::spawn(async move {
            tokio::select! {
                end = reading.run() => if let End::Malformed(why) = end {
                    tracing::debug!(error = %why, "streaming client broke the protocol");
                    let last = for_reading.lock().last;
                    let bye = frame::go_away(last, GoAway::Protocol);
                    // It may not be read any more.
                    drop(tokio::time::timeout(LINGER, for_reading.sink.write(&bye)).await);
                },
                () = for_reading.gone.cancelled() => {}
            }
            for_reading.gone.cancel();
            for entry in for_reading.lock().streams.values() {
                entry.feed.end();
            }
        });
        let for_writing = Arc::clone(&shared);
        let writing = tokio::spawn(async move { for_writing.sink.run().await });
        Self {
            shared,
            incoming,
            reading,
            writing,
        }
    }

    /// Returns the next stream that the client opens; `None` once it has left.
    pub(crate) async fn accept(&mut self) -> Option<Incoming> {
        self.incoming.recv().await
    }

    /// Returns what is set once the client has left.
    pub(crate) fn gone(&self) -> CancellationToken {
        self.shared.gone.clone()
    }

    /// Says good-bye and waits a little for the client to close its side.
    pub(crate) async fn close(mut self) {
        let closing = async {
            let last = self.shared.lock().last;
            let bye = frame::go_away(last, GoAway::Done);
            if self.shared.sink.write(&bye).await.is_ok() {
                self.shared.sink.shutdown().await;
                // Bytes that nobody has read would turn our end into a reset, and the client
                // would lose what is on its way.
                drop((&mut self.reading).await);
            }
        };
        drop(tokio::time::timeout(LINGER, closing).await);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reading.abort();
        self.writing.abort();
    }
}
