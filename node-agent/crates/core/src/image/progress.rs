//! What a pull says while it runs, to any number of readers of any speed.
//!
//! The pull only notes the latest state of each layer; a reader takes what has changed since it
//! last looked. So a slow reader misses steps, never the outcome, and never holds the pull up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_types::{Digest, Platform};
use tokio::sync::watch;
use tokio::time::Instant;

/// Least time between two looks of one reader.
const PAUSE: Duration = Duration::from_millis(50);

/// Where a pull is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullStatus {
    /// The registry is asked what the reference means.
    Resolving,
    /// The reference means this.
    Resolved {
        /// Digest of the manifest or index.
        digest: Digest,
        /// The platform looked for.
        platform: Platform,
    },
    /// Layers are fetched and unpacked.
    Fetching {
        /// Layers of the image.
        layers: usize,
        /// Their compressed bytes.
        bytes: u64,
    },
    /// The image is there.
    Done,
}

/// Where a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerPhase {
    /// For others to finish.
    Waiting,
    /// Bytes come in and are unpacked at once.
    Fetching,
    /// All bytes are there; the last are being unpacked.
    Unpacking,
    /// Unpacked, checked and in its place.
    Done,
    /// Was there before.
    Exists,
}

/// The latest of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerProgress {
    /// Digest of the blob.
    pub digest: Digest,
    /// Place in the image, from 0, lowest first.
    pub index: usize,
    /// Where it is.
    pub phase: LayerPhase,
    /// Compressed bytes that are there.
    pub current: u64,
    /// Compressed bytes in all.
    pub total: u64,
}

/// One thing that a pull says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullEvent {
    /// About the whole.
    Status(PullStatus),
    /// About a layer.
    Layer(LayerProgress),
}

/// What a pull has said so far.
#[derive(Debug)]
pub(super) struct Progress {
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    version: u64,
    status: (u64, PullStatus),
    layers: Vec<(u64, LayerProgress)>,
    ended: bool,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            version: 1,
            status: (1, PullStatus::Resolving),
            layers: Vec::new(),
            ended: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            version: watch::Sender::new(1),
        })
    }

    /// Notes where the pull is.
    pub(super) fn status(&self, status: PullStatus) {
        self.change(|state| state.status = (state.version, status));
    }

    /// Notes the layers of the image, all of which wait.
    pub(super) fn layers(&self, layers: impl Iterator<Item = (Digest, u64)>) {
        self.change(|state| {
            let waiting = |(index, (digest, total))| LayerProgress {
                digest,
                index,
                phase: LayerPhase::Waiting,
                current: 0,
                total,
            };
            let version = state.version;
            state.layers = layers
                .enumerate()
                .map(|layer| (version, waiting(layer)))
                .collect();
        });
    }

    /// Notes where a layer is; `current` bytes of it are there.
    pub(super) fn layer(&self, index: usize, phase: LayerPhase, current: u64) {
        self.change(|state| {
            if let Some((version, layer)) = state.layers.get_mut(index) {
                *version = state.version;
                layer.phase = phase;
                layer.current = current;
            }
        });
    }

    /// Notes that nothing more will come.
    pub(super) fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// Returns a reader that starts with the state so far.
    pub(super) fn events(self: &Arc<Self>) -> PullEvents {
        PullEvents {
            version: self.version.subscribe(),
            progress: Arc::clone(self),
            seen: 0,
            queue: VecDeque::new(),
            looked: None,
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let version = {
            let mut state = self.lock();
            state.version += 1;
            change(&mut state);
            state.version
        };
        self.version.send_replace(version);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what a pull says. Dropping it does nothing to the pull.
#[derive(Debug)]
pub struct PullEvents {
    progress: Arc<Progress>,
    version: watch::Receiver<u64>,
    seen: u64,
    queue: VecDeque<PullEvent>,
    looked: Option<Instant>,
}

impl PullEvents {
    /// Returns the next event, none once the pull has ended. Steps that followed each other
    /// quickly are left out.
    pub async fn next(&mut self) -> Option<PullEvent> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            if let Some(looked) = self.looked.take() {
                tokio::time::sleep_until(looked + PAUSE).await;
            }
            if self.look() {
                return self.queue.pop_front();
            }
            if self.queue.is_empty() && self.version.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Queues what has changed since the last look; true if the pull has ended.
    fn look(&mut self) -> bool {
        self.version.mark_unchanged();
        let state = self.progress.lock();
        let (version, status) = &state.status;
        let status = (*version, PullEvent::Status(status.clone()));
        let layers = state.layers.iter();
        let layers = layers.map(|(version, layer)| (*version, PullEvent::Layer(layer.clone())));
        let mut changed: Vec<_> = std::iter::once(status)
            .chain(layers)
            .filter(|(version, _)| *version > self.seen)
            .collect();
        changed.sort_by_key(|(version, _)| *version);
        self.seen = state.version;
        if !changed.is_empty() {
            self.looked = Some(Instant::now());
        }
        self.queue
            .extend(changed.into_iter().map(|(_, event)| event));
        state.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest::sha256(&[7; 32])
    }

    #[tokio::test]
    async fn a_late_reader_gets_the_state_so_far_and_the_end() {
        let progress = Progress::new();
        progress.layers([(digest(), 100), (digest(), 200)].into_iter());
        for current in 0..100 {
            progress.layer(1, LayerPhase::Fetching, current);
        }
        progress.status(PullStatus::Done);
        progress.end();
        let mut events = progress.events();
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            seen.push(event);
        }
        assert_eq!(seen.len(), 3, "{seen:?}");
        assert!(
            matches!(&seen[1], PullEvent::Layer(layer) if layer.current == 99 && layer.index == 1)
        );
        assert_eq!(seen[2], PullEvent::Status(PullStatus::Done));
    }

    #[tokio::test]
    async fn a_reader_sees_steps_as_they_come_but_not_all_of_them() {
        let progress = Progress::new();
        let mut events = progress.events();
        assert_eq!(
            events.next().await,
            Some(PullEvent::Status(PullStatus::Resolving))
        );
        progress.layers([(digest(), 1000)].into_iter());
        let writer = tokio::spawn(async move {
            for current in 1..=1000 {
                progress.layer(0, LayerPhase::Fetching, current);
                tokio::task::yield_now().await;
            }
            progress.end();
        });
        let (mut count, mut last) = (0, 0);
        while let Some(event) = events.next().await {
            if let PullEvent::Layer(layer) = event {
                assert!(layer.current >= last);
                (count, last) = (count + 1, layer.current);
            }
        }
        writer.await.unwrap();
        assert_eq!(last, 1000);
        assert!(count < 1000, "{count}");
    }
}
