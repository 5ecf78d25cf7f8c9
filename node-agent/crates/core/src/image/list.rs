//! List: the images there are, and what they take.

use std::sync::Arc;

use super::Images;
use super::error::FsUsageError;
use super::record::ImageRecord;
use super::sync::blocking;

/// What images take on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FsUsage {
    /// Bytes of blobs and unpacked layers.
    pub bytes: u64,
    /// Their files, directories and other nodes.
    pub inodes: u64,
}

impl Images {
    /// Lists the images, those built last first; not those that were removed while in use.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<ImageRecord>> {
        let mut images: Vec<_> = self.inner.catalog().visible().cloned().collect();
        images.sort_by(|a, b| {
            let key = |image: &ImageRecord| (image.created_at, image.pulled_at);
            key(b).cmp(&key(a)).then_with(|| a.id.cmp(&b.id))
        });
        images
    }

    /// Counts what all images take, blobs and layers together.
    pub async fn fs_usage(&self) -> Result<FsUsage, FsUsageError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let blobs = inner.content.usage()?;
            let mut usage = FsUsage {
                bytes: blobs.bytes,
                inodes: blobs.inodes,
            };
            for layer in inner.snapshots.layer_records() {
                usage.bytes = usage.bytes.saturating_add(layer.size);
                usage.inodes = usage.inodes.saturating_add(layer.inodes);
            }
            Ok(usage)
        })
        .await
    }
}
