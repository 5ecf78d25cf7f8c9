//! Ensure: an image's layers are unpacked, again if a crash has cost some.

use std::sync::Arc;

use agent_snapshot::ChainId;
use agent_types::ImageId;
use tokio_util::sync::CancellationToken;

use super::error::{EnsureError, LayerError};
use super::progress::Progress;
use super::stack::Stack;
use super::{Images, Inner, plan};

impl Images {
    /// Returns the top of an image's layers, none if it has no layers, once all are unpacked.
    ///
    /// Usually that takes no time. After a power cut, layers that may be damaged have been
    /// dropped, and are unpacked here from the blobs that are stored.
    pub async fn ensure_unpacked(&self, id: &ImageId) -> Result<Option<ChainId>, EnsureError> {
        let not_found = || EnsureError::NotFound { id: id.clone() };
        let record = self.get(id).ok_or_else(not_found)?;
        let is_there = |chain: &ChainId| self.inner.snapshots.contains(chain);
        if record.layers.iter().all(|layer| is_there(&layer.chain_id)) {
            return Ok(record.top().cloned());
        }
        tracing::info!(image = %id, "unpacking image again");
        let failed = |(digest, source)| EnsureError::Layer {
            id: id.clone(),
            digest,
            source,
        };
        let stack = Stack {
            plans: plan::of_record(&record.layers).map_err(failed)?,
            origin: None,
            progress: Progress::new(),
        };
        // A caller that goes away leaves its layers half done; the guard stops them then.
        let cancelled = CancellationToken::new();
        let _guard = cancelled.clone().drop_guard();
        let inner = Arc::clone(&self.inner);
        let work = tokio::spawn(async move {
            let built = Box::pin(stack.build(&inner, &cancelled)).await;
            inner.sync_soon();
            built
        });
        let built = super::sync::finished(work).await;
        if let Err((_, LayerError::Missing)) = &built {
            self.lose(id).await;
        }
        built.map_err(failed)?;
        Ok(record.top().cloned())
    }

    /// Takes the names of an image that cannot be made whole here, so that whoever needs it pulls
    /// it instead of finding it.
    async fn lose(&self, id: &ImageId) {
        let _changes = self.inner.changes.lock().await;
        let Some(mut record) = self.get(id).map(|record| (*record).clone()) else {
            return;
        };
        record.remove_while_used();
        match Inner::save(&self.inner, vec![record]).await {
            Ok(()) => tracing::warn!(image = %id, "image with lost layers forgotten"),
            Err(error) => tracing::warn!(image = %id, error = %error, "lost image not forgotten"),
        }
    }
}
