//! One stream: what the client sends on it, and what it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;

use super::frame::{self, FIN, HEAD, Reset};
use super::headers::Headers;
use super::table::Place;
use crate::inflow::Inflow;
use crate::outlet::ROOM;
use crate::transport::Gone;

/// A stream that the client has opened.
pub(crate) struct Incoming {
    /// Its number; odd, and larger than those of earlier streams.
    pub(crate) number: u32,
    pub(crate) headers: Headers,
    pub(crate) inflow: StreamInflow,
    pub(crate) outflow: Outflow,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("number", &self.number)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// What the client sends.
pub(crate) struct StreamInflow {
    pub(super) place: Arc<Place>,
    pub(super) inflow: Inflow,
}

impl StreamInflow {
    /// Returns what has come, as soon as anything has; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<BytesMut> {
        let bytes = self.inflow.next().await?;
        self.place.shared.consumed(self.place.stream, bytes.len());
        Some(bytes)
    }
}

/// What the client is sent.
pub(crate) struct Outflow {
    pub(super) place: Arc<Place>,
    pub(super) finished: AtomicBool,
}

impl std::fmt::Debug for Outflow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Outflow").field(&self.place.stream).finish()
    }
}

impl Outflow {
    /// Waits until bytes may be sent and returns how many.
    pub(crate) async fn reserve(&self, most: usize) -> Result<usize, Gone> {
        self.place.shared.reserve(self.place.stream, most).await
    }

    /// Says how much of what was reserved is sent.
    pub(crate) fn settle(&self, reserved: usize, used: usize) {
        self.place.shared.settle(self.place.stream, reserved, used);
    }

    /// Sends what follows the first [`ROOM`] bytes.
    pub(crate) async fn send(&self, buffer: &mut [u8]) -> Result<(), Gone> {
        const { assert!(HEAD == ROOM) };
        let head = frame::data(self.place.stream, 0, buffer.len() - ROOM);
        buffer[..ROOM].copy_from_slice(&head);
        self.place.shared.sink.write(buffer).await
    }

    /// Ends our side of the stream.
    pub(crate) async fn finish(&self) -> Result<(), Gone> {
        if self.finished.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let last = frame::data(self.place.stream, FIN, 0);
        self.place.shared.sink.write(&last).await
    }

    /// Returns once the client has reset the stream, or the connection has ended.
    pub(crate) async fn given_up(&self) {
        self.place.shared.closed(self.place.stream).await;
    }

    /// Gives the stream up.
    pub(crate) fn reset(&self) {
        self.finished.store(true, Ordering::Relaxed);
        self.place.shared.reset(self.place.stream, Reset::Cancel);
    }
}
