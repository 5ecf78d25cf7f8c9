//! The writing half of a connection.

use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::transport::{Gone, Writer};

/// Frames that may wait beside the data: answers, window updates, resets. A client that has more
/// of them coming and does not read is cut off.
pub(super) const AHEAD: usize = 1024;

struct Half {
    writer: Writer,
    /// A frame was cut short.
    torn: bool,
    waiting: mpsc::Receiver<Vec<u8>>,
}

impl Half {
    async fn write(&mut self, frame: &[u8]) -> Result<(), Gone> {
        if self.torn {
            return Err(Gone);
        }
        self.torn = true;
        self.writer.write_all(frame).await.map_err(|_| Gone)?;
        self.torn = false;
        Ok(())
    }

    /// Writes what was left earlier.
    async fn catch_up(&mut self) -> Result<(), Gone> {
        while let Ok(frame) = self.waiting.try_recv() {
            self.write(&frame).await?;
        }
        Ok(())
    }
}

/// The writing half; frames never mix, and go out in the order in which they came.
pub(super) struct Sink {
    half: Mutex<Half>,
    waiting: mpsc::Sender<Vec<u8>>,
    /// Something was left.
    left: Notify,
    /// Set when the connection is to end.
    broken: CancellationToken,
}

impl Sink {
    pub(super) fn new(writer: Writer, broken: CancellationToken) -> Self {
        let (waiting, received) = mpsc::channel(AHEAD);
        Self {
            half: Mutex::new(Half {
                writer,
                torn: false,
                waiting: received,
            }),
            waiting,
            left: Notify::new(),
            broken,
        }
    }

    /// Writes a whole frame.
    pub(super) async fn write(&self, frame: &[u8]) -> Result<(), Gone> {
        let mut half = self.half.lock().await;
        // A stream's data must not overtake the answer that opens it.
        half.catch_up().await?;
        half.write(frame).await
    }

    /// Leaves a frame to be written as soon as that can be done; never waits.
    pub(super) fn leave(&self, frame: Vec<u8>) {
        if self.waiting.try_send(frame).is_err() {
            self.broken.cancel();
        }
        self.left.notify_one();
    }

    /// Writes what is left to be written, until the connection breaks.
    pub(super) async fn run(&self) {
        loop {
            self.left.notified().await;
            if self.half.lock().await.catch_up().await.is_err() {
                self.broken.cancel();
                return;
            }
        }
    }

    /// Ends our side.
    pub(super) async fn shutdown(&self) {
        let mut half = self.half.lock().await;
        // The client may have left.
        drop(half.writer.shutdown().await);
    }
}
