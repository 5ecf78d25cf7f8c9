//! Locks and leases by name.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_snapshot::ChainId;
use agent_types::{Digest, ImageId};
use tokio::sync::OwnedMutexGuard;

/// One lock for each key, as long as anybody holds it or waits for it.
#[derive(Debug)]
pub(super) struct Keyed<K: Eq + Hash + Clone> {
    locks: Arc<Mutex<Locks<K>>>,
}

type Locks<K> = HashMap<K, Arc<tokio::sync::Mutex<()>>>;

/// A key held; let go when dropped.
#[derive(Debug)]
pub(super) struct Held<K: Eq + Hash + Clone> {
    locks: Arc<Mutex<Locks<K>>>,
    key: K,
    guard: Option<OwnedMutexGuard<()>>,
}

impl<K: Eq + Hash + Clone> Default for Keyed<K> {
    fn default() -> Self {
        Self {
            locks: Arc::default(),
        }
    }
}

impl<K: Eq + Hash + Clone> Keyed<K> {
    /// Waits until nobody else holds `key`.
    pub(super) async fn lock(&self, key: &K) -> Held<K> {
        let lock = {
            let mut locks = unpoisoned(&self.locks);
            Arc::clone(locks.entry(key.clone()).or_default())
        };
        Held {
            guard: Some(lock.lock_owned().await),
            locks: Arc::clone(&self.locks),
            key: key.clone(),
        }
    }
}

impl<K: Eq + Hash + Clone> Drop for Held<K> {
    fn drop(&mut self) {
        self.guard = None;
        let mut locks = unpoisoned(&self.locks);
        // Those who wait have a share of the lock; without any, only the map has.
        if locks
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            locks.remove(&self.key);
        }
    }
}

/// What pulls in flight have made or found and not yet recorded, and images that containers being
/// made stand on: garbage collection leaves them.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    chains: HashMap<ChainId, usize>,
    blobs: HashMap<Digest, usize>,
    images: HashMap<ImageId, usize>,
}

/// The leases of one pull or of one container being made; given up when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    leases: Leases,
    chains: Vec<ChainId>,
    blobs: Vec<Digest>,
    images: Vec<ImageId>,
}

impl Leases {
    /// Starts a lease of nothing.
    pub(super) fn start(&self) -> Lease {
        Lease {
            leases: self.clone(),
            chains: Vec::new(),
            blobs: Vec::new(),
            images: Vec::new(),
        }
    }

    pub(super) fn has_chain(&self, chain: &ChainId) -> bool {
        unpoisoned(&self.0).chains.contains_key(chain)
    }

    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        unpoisoned(&self.0).blobs.contains_key(digest)
    }

    pub(super) fn has_image(&self, id: &ImageId) -> bool {
        unpoisoned(&self.0).images.contains_key(id)
    }
}

impl Lease {
    pub(super) fn chain(&mut self, chain: &ChainId) {
        *unpoisoned(&self.leases.0)
            .chains
            .entry(chain.clone())
            .or_default() += 1;
        self.chains.push(chain.clone());
    }

    pub(super) fn blob(&mut self, digest: &Digest) {
        *unpoisoned(&self.leases.0)
            .blobs
            .entry(digest.clone())
            .or_default() += 1;
        self.blobs.push(digest.clone());
    }

    pub(super) fn image(&mut self, id: &ImageId) {
        *unpoisoned(&self.leases.0)
            .images
            .entry(id.clone())
            .or_default() += 1;
        self.images.push(id.clone());
    }
}

impl Lease {
    /// Gives everything up and returns which blobs that were.
    pub(super) fn give_up(self) -> Vec<Digest> {
        self.blobs.clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut counts = unpoisoned(&self.leases.0);
        for chain in &self.chains {
            give_up(&mut counts.chains, chain);
        }
        for digest in &self.blobs {
            give_up(&mut counts.blobs, digest);
        }
        for id in &self.images {
            give_up(&mut counts.images, id);
        }
    }
}

fn give_up<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Maps of counts and locks stay true if their holder panics between two of them.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_held_by_one_and_forgotten_after_the_last() {
        let keyed = Keyed::<u8>::default();
        let first = keyed.lock(&1).await;
        let other = keyed.lock(&2).await;
        {
            let mut second = std::pin::pin!(keyed.lock(&1));
            assert!(futures_util::poll!(&mut second).is_pending());
            drop(first);
            assert!(futures_util::poll!(&mut second).is_ready());
        }
        drop(other);
        assert!(unpoisoned(&keyed.locks).is_empty());
    }

    #[test]
    fn leases_count() {
        let leases = Leases::default();
        let digest = Digest::sha256(&[1; 32]);
        let chain = ChainId::from(digest.clone());
        let (mut first, mut second) = (leases.start(), leases.start());
        first.blob(&digest);
        second.blob(&digest);
        second.chain(&chain);
        drop(first);
        assert!(leases.has_blob(&digest) && leases.has_chain(&chain));
        drop(second);
        assert!(!leases.has_blob(&digest) && !leases.has_chain(&chain));
    }
}
