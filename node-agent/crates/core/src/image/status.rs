//! Status: one image, as a person or a container names it.

use std::sync::Arc;

use agent_content::BlobError;
use agent_types::ImageId;

use super::catalog::ResolveError;
use super::error::SaveError;
use super::keyed::Lease;
use super::record::{ImageRecord, Pin};
use super::sync::blocking;
use super::{Images, Inner};

/// An image that a container is being made from. Until this is dropped, a removal takes the
/// image's names and leaves everything else.
#[derive(Debug)]
pub struct HeldImage {
    /// The image.
    pub image: Arc<ImageRecord>,
    _lease: Lease,
}

impl Images {
    /// Finds an image as [`Self::resolve`] does, and holds it until whoever asked has said in
    /// another way that it is used.
    pub fn hold(&self, text: &str) -> Result<HeldImage, ResolveError> {
        let mut lease = self.inner.leases.start();
        // A removal looks at the leases with the catalog locked, so none comes between the two.
        let catalog = self.inner.catalog();
        let image = catalog
            .resolve(text)
            .map(|(record, _)| Arc::clone(record))?;
        lease.image(&image.id);
        Ok(HeldImage {
            image,
            _lease: lease,
        })
    }

    /// Returns an image by id, also one that was removed while a container used it.
    #[must_use]
    pub fn get(&self, id: &ImageId) -> Option<Arc<ImageRecord>> {
        self.inner.catalog().get(id).cloned()
    }

    /// Returns the image that a person means by a name, an id, the beginning of an id, or the
    /// digest of a manifest.
    pub fn resolve(&self, text: &str) -> Result<Arc<ImageRecord>, ResolveError> {
        let catalog = self.inner.catalog();
        catalog.resolve(text).map(|(record, _)| Arc::clone(record))
    }

    /// Returns an image's config as it was fetched: JSON, and an attacker's.
    pub async fn config_json(&self, id: &ImageId) -> Result<Vec<u8>, BlobError> {
        let (inner, digest) = (Arc::clone(&self.inner), id.0.clone());
        blocking(move || inner.content.read_small(&digest, inner.config.config_bytes)).await
    }

    /// Notes for whom an image is kept.
    pub async fn set_pinned(&self, id: &ImageId, pin: Pin) -> Result<(), SaveError> {
        let _changes = self.inner.changes.lock().await;
        let known = self.inner.catalog().get(id).cloned();
        let mut record = (*known.ok_or_else(|| SaveError::NotFound { id: id.clone() })?).clone();
        if record.pinned == pin {
            return Ok(());
        }
        record.pinned = pin;
        let failed = |source| SaveError::Save {
            id: id.clone(),
            source,
        };
        Inner::save(&self.inner, vec![record]).await.map_err(failed)
    }
}
