//! Bytes from a client that wait for their reader: a bounded queue of one stream.
//!
//! Whoever feeds it waits while it is full, so a client that sends faster than its stream is read
//! is held back by its own connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct State {
    bytes: BytesMut,
    /// Nothing more will come.
    ended: bool,
    /// Nobody reads any more.
    unread: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    capacity: usize,
    filled: Notify,
    drained: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that is written by the connection.
#[derive(Debug, Clone)]
pub(crate) struct Feed(Arc<Shared>);

/// The end that is read.
#[derive(Debug)]
pub(crate) struct Inflow(Arc<Shared>);

/// Returns a queue of at most `capacity` bytes.
pub(crate) fn queue(capacity: usize) -> (Feed, Inflow) {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        capacity,
        filled: Notify::new(),
        drained: Notify::new(),
    });
    (Feed(Arc::clone(&shared)), Inflow(shared))
}

impl Feed {
    /// Adds bytes, as there is room for them. Returns how many were dropped because nobody reads.
    pub(crate) async fn push(&self, mut data: &[u8]) -> usize {
        while !data.is_empty() {
            let drained = self.0.drained.notified();
            {
                let mut state = self.0.lock();
                if state.unread || state.ended {
                    return data.len();
                }
                let room = self.0.capacity - state.bytes.len();
                let (now, later) = data.split_at(room.min(data.len()));
                state.bytes.extend_from_slice(now);
                data = later;
            }
            self.0.filled.notify_one();
            if !data.is_empty() {
                drained.await;
            }
        }
        0
    }

    /// Returns whether bytes fit without waiting.
    pub(crate) fn fits(&self, count: usize) -> bool {
        let state = self.0.lock();
        state.unread || state.ended || state.bytes.len() + count <= self.0.capacity
    }

    /// Says that nothing more will come; what is there is still read.
    pub(crate) fn end(&self) {
        self.0.lock().ended = true;
        self.0.filled.notify_one();
    }
}

impl Inflow {
    /// Returns what has come, as soon as anything has; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<BytesMut> {
        loop {
            let filled = self.0.filled.notified();
            {
                let mut state = self.0.lock();
                if !state.bytes.is_empty() {
                    // Whole, so that an idle stream holds no memory.
                    let bytes = std::mem::take(&mut state.bytes);
                    drop(state);
                    self.0.drained.notify_one();
                    return Some(bytes);
                }
                if state.ended {
                    return None;
                }
            }
            filled.await;
        }
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.unread = true;
        state.bytes = BytesMut::new();
        drop(state);
        self.0.drained.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_out_as_they_went_in_and_then_the_end() {
        let (feed, mut inflow) = queue(4);
        let feeding = tokio::spawn(async move {
            let dropped = feed.push(b"hello world").await;
            feed.end();
            dropped
        });
        let mut all = Vec::new();
        while let Some(bytes) = inflow.next().await {
            assert!(bytes.len() <= 4);
            all.extend_from_slice(&bytes);
        }
        assert_eq!(all, b"hello world");
        assert_eq!(feeding.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_reader_that_leaves_lets_the_feeder_go() {
        let (feed, inflow) = queue(4);
        let feeding = tokio::spawn(async move { feed.push(b"hello world").await });
        tokio::task::yield_now().await;
        drop(inflow);
        assert_eq!(feeding.await.unwrap(), 7);
    }
}
