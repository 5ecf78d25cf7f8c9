//! Work on threads that may block, and the sync of the file system after pulls.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tokio::task::JoinHandle;

use super::{Images, Inner};

/// Runs `work` where it may block. A panic in it goes on in the caller.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    finished(tokio::task::spawn_blocking(work)).await
}

/// Waits for a task. A panic in it goes on in the caller.
pub(super) async fn finished<T>(task: JoinHandle<T>) -> T {
    match task.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down and nobody will look at the outcome.
            Err(_) => std::future::pending().await,
        },
    }
}

impl Images {
    /// Waits until everything pulled by now has reached the disk, and remembers that. What was
    /// not synced when the power fails is verified, or unpacked again, when it is next used.
    pub async fn sync(&self) {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.sync_now()).await;
    }
}

impl Inner {
    /// Syncs in the background, once for all pulls that end meanwhile.
    pub(super) fn sync_soon(self: &Arc<Self>) {
        if self.sync_asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            // Cleared first: a pull that ends during the sync asks for another.
            inner.sync_asked.store(false, Ordering::Release);
            inner.sync_now();
        });
    }

    fn sync_now(&self) {
        let _one_at_a_time = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        // A failed sync leaves blobs and layers unclean, which costs a verification at most.
        if let Err(error) = self.content.sync() {
            tracing::warn!(error = %agent_telemetry::chain(&error), "content store not synced");
        }
        if let Err(error) = self.snapshots.sync() {
            tracing::warn!(error = %agent_telemetry::chain(&error), "layers not synced");
        }
    }
}
