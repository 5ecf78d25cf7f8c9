//! What is known of an image: its record, as it is stored.

use agent_snapshot::ChainId;
use agent_types::{Digest, ImageId, Platform, Reference};
use serde::{Deserialize, Serialize};

use super::config::ImageConfig;
use crate::time::Timestamp;

/// Who wants an image kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// Nobody in particular: a kubelet may remove it.
    #[default]
    None,
    /// A person pulled, built or loaded it; a kubelet is shown it as pinned.
    Local,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Digest of the blob as fetched.
    pub digest: Digest,
    /// Media type of the blob.
    pub media_type: String,
    /// Size of the blob.
    pub compressed_size: u64,
    /// Digest of the archive within the blob.
    pub diff_id: Digest,
    /// Name of the layer with those below it.
    pub chain_id: ChainId,
    /// Size of the archive.
    pub unpacked_size: u64,
}

/// An image of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Version of this form.
    pub version: u32,
    /// Digest of the config: the image's identity.
    pub id: ImageId,
    /// Digest of the manifest that was unpacked.
    pub manifest: Digest,
    /// Digest of the index that led to it.
    pub index: Option<Digest>,
    /// Names by tag.
    pub references: Vec<Reference>,
    /// Names by digest, as the registry resolved them.
    pub digests: Vec<Reference>,
    /// What it runs on.
    pub platform: Platform,
    /// Defaults for its containers.
    pub config: ImageConfig,
    /// Its layers, lowest first.
    pub layers: Vec<LayerRecord>,
    /// Who wants it kept.
    pub pinned: Pin,
    /// Removed while a container used it: has no names, and goes with its last container.
    pub removed: bool,
    /// When it was built, if it says so.
    pub created_at: Option<Timestamp>,
    /// When this node got it.
    pub pulled_at: Timestamp,
}

impl ImageRecord {
    /// The version written by this program.
    pub const VERSION: u32 = 1;

    /// Returns the name of the whole stack of layers; none if there are no layers.
    #[must_use]
    pub fn top(&self) -> Option<&ChainId> {
        self.layers.last().map(|layer| &layer.chain_id)
    }

    /// Returns the bytes of its layers as fetched.
    #[must_use]
    pub fn compressed_size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.compressed_size).sum()
    }

    /// Returns the bytes of its layers as unpacked.
    #[must_use]
    pub fn unpacked_size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.unpacked_size).sum()
    }

    /// Lists every blob the image is made of.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Digest> {
        let documents = [Some(&self.id.0), Some(&self.manifest), self.index.as_ref()];
        let layers = self.layers.iter().map(|layer| &layer.digest);
        documents.into_iter().flatten().chain(layers)
    }

    /// Takes all names away and leaves the rest to whoever uses it.
    pub(super) fn remove_while_used(&mut self) {
        self.references.clear();
        self.digests.clear();
        self.removed = true;
    }

    /// Adds a name by tag or by digest, once.
    pub(super) fn add_name(&mut self, name: &Reference) {
        let names = match name.digest() {
            Some(_) => &mut self.digests,
            None => &mut self.references,
        };
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
}
