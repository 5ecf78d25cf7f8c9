//! Garbage collection: what no image has a use for any more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_content::BlobEntry;
use agent_snapshot::ChainId;
use agent_types::{Digest, ImageId};

use super::error::CollectError;
use super::records::RecordsError;
use super::remove::InUse;
use super::sync::blocking;
use super::{Images, Inner};

/// Age at which what a pull has fetched that did not come to its end is no longer kept for the next.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// What a collection has removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Images that were removed earlier and are no longer used.
    pub images: Vec<ImageId>,
    /// Layers.
    pub layers: usize,
    /// Blobs.
    pub blobs: usize,
}

impl Images {
    /// Deletes images that were removed while used and are not used any more, then layers that no
    /// image refers to and no pull is making, and such blobs: at once those of images that are
    /// gone, after a day those that a pull has fetched that never came to its end.
    ///
    /// To be called after a container is removed, and now and then. What cannot be removed now is
    /// left for the next time.
    pub async fn collect_garbage(&self, in_use: InUse<'_>) -> Result<Collected, CollectError> {
        let (mut images, mut condemned) = (Vec::new(), HashSet::new());
        {
            let _changes = self.inner.changes.lock().await;
            let all: Vec<_> = self.inner.catalog().all().cloned().collect();
            for record in all.iter().filter(|record| record.removed) {
                let forgotten = self.inner.forget(&record.id, in_use).await;
                let forgotten = forgotten.map_err(|source| CollectError::Record {
                    id: record.id.clone(),
                    source,
                })?;
                if forgotten {
                    images.push(record.id.clone());
                    condemned.extend(record.blobs().cloned());
                }
            }
        }
        let collected = self.collect_unused(&condemned).await?;
        Ok(Collected {
            images,
            ..collected
        })
    }

    /// Deletes blobs that are of no use to the next pull, and layers without an image. A failure
    /// is told in the log: the next collection tries again.
    pub(super) async fn discard(&self, blobs: Vec<Digest>) {
        let condemned: HashSet<Digest> = blobs.into_iter().collect();
        if let Err(error) = self.collect_unused(&condemned).await {
            tracing::warn!(error = %agent_telemetry::chain(&error), "unused layers and blobs not collected");
        }
        // Of some there is no blob, but the beginning of one: its fetch was given up with another's.
        for digest in &condemned {
            self.remove_blob(digest).await;
        }
    }

    /// Says whether an image waits for its last container to go.
    #[must_use]
    pub fn has_removed(&self) -> bool {
        self.inner.catalog().all().any(|record| record.removed)
    }

    async fn collect_unused(&self, condemned: &HashSet<Digest>) -> Result<Collected, CollectError> {
        let mut collected = Collected::default();
        for chain in self.unused_layers() {
            collected.layers += usize::from(self.remove_layer(&chain).await);
        }
        for digest in self.unused_blobs(condemned).await? {
            collected.blobs += usize::from(self.remove_blob(&digest).await);
        }
        if collected.layers > 0 {
            let inner = Arc::clone(&self.inner);
            // The layers have been moved aside; their files are deleted behind our back.
            tokio::task::spawn_blocking(move || {
                if let Err(error) = inner.snapshots.sweep() {
                    tracing::warn!(error = %agent_telemetry::chain(&error), "removed layers not deleted");
                }
            });
        }
        Ok(collected)
    }

    /// Lists layers without an image, upper ones before those they stand on.
    fn unused_layers(&self) -> Vec<ChainId> {
        let records = self.inner.snapshots.layer_records();
        let used: HashSet<ChainId> = {
            let catalog = self.inner.catalog();
            let layers = catalog.all().flat_map(|record| &record.layers);
            layers.map(|layer| layer.chain_id.clone()).collect()
        };
        let mut unused: Vec<_> = records
            .into_iter()
            .filter(|layer| !used.contains(&layer.chain))
            .collect();
        // A layer has a higher number than the one below it, unless that was unpacked again; what
        // is refused for that reason goes next time.
        unused.sort_by_key(|layer| std::cmp::Reverse(layer.number));
        unused.into_iter().map(|layer| layer.chain).collect()
    }

    async fn remove_layer(&self, chain: &ChainId) -> bool {
        let _held = self.inner.chains.lock(chain).await;
        if self.inner.leases.has_chain(chain) || self.is_layer_used(chain) {
            return false;
        }
        let (inner, chain) = (Arc::clone(&self.inner), chain.clone());
        blocking(move || match inner.snapshots.remove_layer(&chain) {
            Ok(()) => true,
            Err(error) => {
                // Usually a container that outlives its image.
                tracing::debug!(%chain, %error, "layer kept");
                false
            }
        })
        .await
    }

    fn is_layer_used(&self, chain: &ChainId) -> bool {
        let catalog = self.inner.catalog();
        catalog
            .all()
            .any(|record| record.layers.iter().any(|layer| layer.chain_id == *chain))
    }

    /// Lists blobs without an image that are condemned or that nobody came back for.
    async fn unused_blobs(&self, condemned: &HashSet<Digest>) -> Result<Vec<Digest>, CollectError> {
        let content = self.inner.content.clone();
        let stored = blocking(move || {
            content.sweep_ingests(STALE)?;
            content.list()
        });
        let stored = stored.await?;
        let used: HashSet<Digest> = {
            let catalog = self.inner.catalog();
            catalog
                .all()
                .flat_map(|record| record.blobs().cloned().collect::<Vec<_>>())
                .collect()
        };
        let now = SystemTime::now();
        let is_stale = |blob: &BlobEntry| {
            let age = now.duration_since(blob.received_at);
            age.is_ok_and(|age| age >= STALE)
        };
        let unused = stored.into_iter().filter(|blob| {
            !used.contains(&blob.digest) && (condemned.contains(&blob.digest) || is_stale(blob))
        });
        Ok(unused.map(|blob| blob.digest).collect())
    }

    async fn remove_blob(&self, digest: &Digest) -> bool {
        let _held = self.inner.blobs.lock(digest).await;
        if self.inner.leases.has_blob(digest) || self.is_blob_used(digest) {
            return false;
        }
        let (content, digest) = (self.inner.content.clone(), digest.clone());
        blocking(move || match content.remove(&digest) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%digest, error = %error, "unused blob not removed");
                false
            }
        })
        .await
    }

    fn is_blob_used(&self, digest: &Digest) -> bool {
        let catalog = self.inner.catalog();
        catalog
            .all()
            .any(|record| record.blobs().any(|blob| blob == digest))
    }
}

impl Inner {
    /// Says whether a container was made from an image, or is being made.
    pub(super) fn is_used(&self, id: &ImageId, in_use: InUse<'_>) -> bool {
        in_use(id) || self.leases.has_image(id)
    }

    /// Removes an image for good; false if it is used. The caller holds `changes`.
    pub(super) async fn forget(
        self: &Arc<Self>,
        id: &ImageId,
        in_use: InUse<'_>,
    ) -> Result<bool, RecordsError> {
        let hidden = {
            // With the catalog locked nobody can find the image and begin to use it.
            let mut catalog = self.catalog_mut();
            let known = catalog.get(id).cloned();
            match known.filter(|_| !self.is_used(id, in_use)) {
                Some(known) => {
                    catalog.remove(id);
                    known
                }
                None => return Ok(false),
            }
        };
        let inner = Arc::clone(self);
        blocking(move || {
            let removed = inner.records.remove(&hidden.id);
            if removed.is_err() {
                inner.catalog_mut().put(hidden);
            }
            removed.map(|()| true)
        })
        .await
    }
}
