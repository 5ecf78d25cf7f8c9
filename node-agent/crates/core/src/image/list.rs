//! List: the images there are, and what they take.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Images;
use super::error::FsUsageError;
use super::record::ImageRecord;
use super::sync::blocking;

/// A file system that has something of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFileSystem {
    /// A directory of the node's on it.
    pub directory: PathBuf,
    /// What they take there.
    pub usage: FsUsage,
}

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
        let all = self.file_systems().await?;
        let usages = all.into_iter().map(|one| one.usage);
        Ok(usages.fold(FsUsage::default(), FsUsage::plus))
    }

    /// Counts what images take on each file system that has something of them: at first where
    /// layers are, and the writable layers of containers, then where blobs are, if that is another.
    pub async fn file_systems(&self) -> Result<Vec<ImageFileSystem>, FsUsageError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let blobs = inner.content.usage()?;
            let blobs = FsUsage {
                bytes: blobs.bytes,
                inodes: blobs.inodes,
            };
            let records = inner.snapshots.layer_records().into_iter();
            let layers = records.map(|layer| FsUsage {
                bytes: layer.size,
                inodes: layer.inodes,
            });
            let layers = layers.fold(FsUsage::default(), FsUsage::plus);
            let of = |directory: &Path, usage| ImageFileSystem {
                directory: directory.to_owned(),
                usage,
            };
            let (content, base) = (inner.content.directory(), inner.snapshots.base());
            Ok(if is_one_file_system(content, base) {
                vec![of(base, layers.plus(blobs))]
            } else {
                vec![of(base, layers), of(content, blobs)]
            })
        })
        .await
    }
}

impl FsUsage {
    fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            inodes: self.inodes.saturating_add(other.inodes),
        }
    }
}

/// Says whether two directories are on one file system, as far as can be told.
fn is_one_file_system(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|found| found.dev());
    match (device(one), device(other)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        assert!(is_one_file_system(directory.path(), directory.path()));
        assert!(!is_one_file_system(directory.path(), Path::new("/proc")));
    }
}
