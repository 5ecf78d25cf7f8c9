//! Real images, made here: layers as tar streams, a config, a manifest, an index.
//!
//! Nothing is fetched from anywhere; the one program inside is Debian's static busybox.
//! Start reading at [`Image::busybox`].

mod big;
mod busybox;
mod layer;
mod pause;

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use big::{BigImage, big_layer};
pub use busybox::busybox_layer;
pub use layer::{Compression, Layer, LayerBuilder};
pub use pause::{pause_program, program};

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of a docker schema 2 manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of an OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// Returns the digest of some bytes as registries write it.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold("sha256:".to_owned(), |text, byte| {
            text + &format!("{byte:02x}")
        })
}

/// The two dialects manifests are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The OCI image specification.
    Oci,
    /// Docker's schema 2.
    Docker,
}

/// A blob that belongs to an image.
#[derive(Clone, Debug)]
pub struct Blob {
    /// `sha256:` and 64 digits.
    pub digest: String,
    /// What is stored and sent.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// Returns the blob of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            digest: digest(&bytes),
            bytes,
        }
    }
}

/// An image ready to be pushed: its blobs and its manifest.
#[derive(Clone, Debug)]
pub struct Image {
    /// Layers and the config.
    pub blobs: Vec<Blob>,
    /// The manifest's exact bytes.
    pub manifest: Vec<u8>,
    /// The manifest's media type.
    pub media_type: String,
    /// Digest of the config: what makes an image the same.
    pub id: String,
}

impl Image {
    /// Returns an image of one gzip layer: static busybox with its usual links, and `/bin/pause`.
    pub fn busybox() -> Result<Self> {
        Ok(Self::new(vec![busybox_layer()?.gzip()?], &default_config()))
    }

    /// Returns busybox's layer with further layers on top of it.
    pub fn busybox_with(layers: Vec<Layer>, config: &Value) -> Result<Self> {
        let mut all = vec![busybox_layer()?.gzip()?];
        all.extend(layers);
        Ok(Self::new(all, config))
    }

    /// Returns an OCI image of these layers for the machine it is made on.
    #[must_use]
    pub fn new(layers: Vec<Layer>, config: &Value) -> Self {
        Self::in_dialect(Dialect::Oci, layers, config)
    }

    /// Returns an image of these layers in the given dialect. `config` is the runtime part of
    /// the image config (`Env`, `Cmd`, `User`, ...).
    #[must_use]
    pub fn in_dialect(dialect: Dialect, layers: Vec<Layer>, config: &Value) -> Self {
        let document = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": config,
            "rootfs": {
                "type": "layers",
                "diff_ids": layers.iter().map(|layer| layer.diff_id.clone()).collect::<Vec<_>>(),
            },
        });
        Self::with_config(dialect, layers, &document)
    }

    /// Returns an image with exactly this config document.
    #[must_use]
    pub fn with_config(dialect: Dialect, layers: Vec<Layer>, document: &Value) -> Self {
        let config = Blob::new(document.to_string().into_bytes());
        let (media_type, config_type) = match dialect {
            Dialect::Oci => (OCI_MANIFEST, OCI_CONFIG),
            Dialect::Docker => (DOCKER_MANIFEST, DOCKER_CONFIG),
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {"mediaType": config_type, "digest": config.digest, "size": config.bytes.len()},
            "layers": layers.iter().map(|layer| layer.descriptor(dialect)).collect::<Vec<_>>(),
        });
        let id = config.digest.clone();
        let mut blobs: Vec<Blob> = layers.into_iter().map(|layer| layer.blob).collect();
        blobs.push(config);
        Self {
            blobs,
            manifest: manifest.to_string().into_bytes(),
            media_type: media_type.to_owned(),
            id,
        }
    }

    /// Returns the digest of the manifest.
    #[must_use]
    pub fn manifest_digest(&self) -> String {
        digest(&self.manifest)
    }

    /// Returns this image's entry for an index.
    #[must_use]
    pub fn index_entry(&self, os: &str, architecture: &str) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": self.manifest_digest(),
            "size": self.manifest.len(),
            "platform": {"os": os, "architecture": architecture},
        })
    }
}

/// Returns an OCI index of these entries.
#[must_use]
pub fn index(entries: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
        .to_string()
        .into_bytes()
}

/// Returns the runtime config most images here carry.
#[must_use]
pub fn default_config() -> Value {
    json!({
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Cmd": ["/bin/pause"],
    })
}

/// Returns this machine's architecture as images name it.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
