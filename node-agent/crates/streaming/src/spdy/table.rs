//! What reader, writers and streams of a connection share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::frame::{self, Reset};
use super::sink::Sink;
use super::window::{Room, Windows};
use crate::inflow::Feed;
use crate::transport::Gone;

/// Bytes that are read of a stream, or of all, before the client is told that it may send more.
const UPDATE: u32 = 32 << 10;

/// A stream that is open.
pub(super) struct Entry {
    pub(super) feed: Feed,
    /// The client has ended its side.
    pub(super) ended: bool,
    /// Read, and not told to the client yet.
    consumed: u32,
}

/// What changes.
pub(super) struct State {
    pub(super) streams: HashMap<u32, Entry>,
    pub(super) windows: Windows,
    /// The last stream that was opened.
    pub(super) last: u32,
    consumed: u32,
}

/// A connection, as all its parts see it.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) sink: Sink,
    /// A window was opened, or a stream closed.
    changed: Notify,
    /// Set once the client has left or is to be cut off.
    pub(super) gone: CancellationToken,
}

/// Number of the ping that tells whether a client uses windows; ours are even.
pub(super) const QUESTION: u32 = 2;

impl Shared {
    pub(super) fn new(sink: Sink, gone: CancellationToken) -> Self {
        Self {
            state: Mutex::new(State {
                streams: HashMap::new(),
                windows: Windows::new(),
                last: 0,
                consumed: 0,
            }),
            sink,
            changed: Notify::new(),
            gone,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a stream.
    pub(super) fn open(&self, stream: u32, feed: Feed, ended: bool) {
        let mut state = self.lock();
        state.windows.open(stream);
        let entry = Entry {
            feed,
            ended,
            consumed: 0,
        };
        state.streams.insert(stream, entry);
    }

    /// Forgets a stream; whatever comes for it is dropped from now on.
    pub(super) fn close(&self, stream: u32) {
        let mut state = self.lock();
        state.windows.close(stream);
        if let Some(entry) = state.streams.remove(&stream) {
            entry.feed.end();
        }
        drop(state);
        self.wake();
    }

    /// Wakes those that wait for room.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until bytes may be sent on a stream, and returns how many.
    pub(super) async fn reserve(&self, stream: u32, most: usize) -> Result<usize, Gone> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let room = self.lock().windows.reserve(stream, most);
            match room {
                Room::Bytes(count) => return Ok(count),
                Room::Closed => return Err(Gone),
                Room::Ask => self.sink.leave(frame::ping(QUESTION)),
                Room::None => {}
            }
            tokio::select! {
                () = changed => {}
                () = self.gone.cancelled() => return Err(Gone),
            }
        }
    }

    /// Waits until a stream is closed.
    pub(super) async fn closed(&self, stream: u32) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.lock().streams.contains_key(&stream) {
                return;
            }
            tokio::select! {
                () = changed => {}
                () = self.gone.cancelled() => return,
            }
        }
    }

    /// Says how much of what was reserved is sent.
    pub(super) fn settle(&self, stream: u32, reserved: usize, used: usize) {
        self.lock().windows.settle(stream, reserved, used);
        if used < reserved {
            self.wake();
        }
    }

    /// Notes that bytes of a stream were read, and tells the client from time to time.
    pub(super) fn consumed(&self, stream: u32, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let mut updates = Vec::new();
        {
            let mut state = self.lock();
            state.consumed = state.consumed.saturating_add(count);
            if state.consumed >= UPDATE {
                updates.push((0, std::mem::take(&mut state.consumed)));
            }
            if let Some(entry) = state.streams.get_mut(&stream) {
                entry.consumed = entry.consumed.saturating_add(count);
                if entry.consumed >= UPDATE && !entry.ended {
                    updates.push((stream, std::mem::take(&mut entry.consumed)));
                }
            }
        }
        for (stream, delta) in updates {
            self.sink.leave(frame::window_update(stream, delta));
        }
    }

    /// Resets a stream.
    pub(super) fn reset(&self, stream: u32, why: Reset) {
        self.sink.leave(frame::reset(stream, why));
        self.close(stream);
    }
}

/// The hold of a stream's two halves on its place in the table.
pub(super) struct Place {
    pub(super) shared: Arc<Shared>,
    pub(super) stream: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.close(self.stream);
    }
}
