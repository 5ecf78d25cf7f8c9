//! Images made for tests.

use std::io::Write;

use agent_content::Hasher;
use agent_types::Digest;
use agent_types::digest::Algorithm;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::real::Registry;
use crate::support::scripted::{Reply, Request, ranged};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Hasher::digest_of(Algorithm::Sha256, bytes)
}

/// How a layer is wrapped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wrap {
    Plain,
    Gzip,
    Zstd,
}

/// A layer, as it is pushed.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) blob: Vec<u8>,
    pub(crate) diff_id: Digest,
    pub(crate) media_type: String,
}

impl Layer {
    /// Makes a layer of files.
    pub(crate) fn of(files: &[(&str, &[u8])], wrap: Wrap) -> Self {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(1_000_000_000);
            // Not append_data, which would refuse what a hostile image holds.
            let name = &mut header.as_gnu_mut().unwrap().name;
            name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            archive.append(&header, *bytes).unwrap();
        }
        Self::wrap(archive.into_inner().unwrap(), wrap)
    }

    pub(crate) fn wrap(archive: Vec<u8>, wrap: Wrap) -> Self {
        let (blob, suffix) = match wrap {
            Wrap::Plain => (archive.clone(), ""),
            Wrap::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&archive).unwrap();
                (encoder.finish().unwrap(), "+gzip")
            }
            Wrap::Zstd => (zstd::encode_all(&archive[..], 1).unwrap(), "+zstd"),
        };
        Self {
            blob,
            diff_id: digest(&archive),
            media_type: format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        digest(&self.blob)
    }
}

/// An image, as it is pushed.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) layers: Vec<Layer>,
    pub(crate) config: String,
    pub(crate) manifest: String,
}

impl Image {
    pub(crate) fn of(layers: Vec<Layer>) -> Self {
        let arch = agent_types::Platform::host().architecture().to_owned();
        Self::on(layers, "linux", &arch)
    }

    pub(crate) fn on(layers: Vec<Layer>, os: &str, architecture: &str) -> Self {
        let diff_ids: Vec<_> = layers
            .iter()
            .map(|layer| format!("\"{}\"", layer.diff_id))
            .collect();
        let config = format!(
            r#"{{"os":"{os}","architecture":"{architecture}","created":"2024-01-02T03:04:05Z",
                "config":{{"Env":["PATH=/bin"],"Cmd":["/bin/sh"],"Labels":{{"a":"b"}},"User":"7"}},
                "rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            diff_ids.join(",")
        );
        Self::with_config(layers, config)
    }

    pub(crate) fn with_config(layers: Vec<Layer>, config: String) -> Self {
        let descriptor = |kind: &str, bytes: &[u8]| {
            let (digest, size) = (digest(bytes), bytes.len());
            format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#)
        };
        let described: Vec<_> = layers
            .iter()
            .map(|layer| descriptor(&layer.media_type, &layer.blob))
            .collect();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
            descriptor(CONFIG, config.as_bytes()),
            described.join(",")
        );
        Self {
            layers,
            config,
            manifest,
        }
    }

    /// Makes an image of a few small files in one gzip layer.
    pub(crate) fn small(text: &str) -> Self {
        Self::of(vec![Layer::of(&[("hello", text.as_bytes())], Wrap::Gzip)])
    }

    pub(crate) fn id(&self) -> Digest {
        digest(self.config.as_bytes())
    }

    pub(crate) fn digest(&self) -> Digest {
        digest(self.manifest.as_bytes())
    }

    /// Returns an index entry that points at this image.
    pub(crate) fn entry(&self, platform: &str) -> String {
        format!(
            r#"{{"mediaType":"{MANIFEST}","digest":"{}","size":{},"platform":{platform}}}"#,
            self.digest(),
            self.manifest.len()
        )
    }

    pub(crate) fn push(&self, registry: &Registry, repository: &str, name: &str) {
        for blob in self.blobs() {
            registry.push_blob(repository, digest(blob).as_str(), blob);
        }
        registry.push_manifest(repository, name, MANIFEST, self.manifest.as_bytes());
    }

    fn blobs(&self) -> impl Iterator<Item = &[u8]> {
        let layers = self.layers.iter().map(|layer| layer.blob.as_slice());
        std::iter::once(self.config.as_bytes()).chain(layers)
    }

    /// Answers as a good registry that has this image under every tag.
    pub(crate) fn serve(&self, request: &Request) -> Reply {
        if request.path.contains("/manifests/") {
            return Reply::new(200)
                .header("Content-Type", MANIFEST)
                .header("Docker-Content-Digest", self.digest().to_string())
                .body(self.manifest.as_bytes());
        }
        let wanted = |blob: &&[u8]| request.path.ends_with(digest(blob).as_str());
        match self.blobs().find(wanted) {
            Some(blob) => ranged(request, blob),
            None => Reply::new(404),
        }
    }

    /// Says whether a request is for the blob of a layer.
    pub(crate) fn is_layer(&self, request: &Request) -> bool {
        let asked = |layer: &Layer| request.path.ends_with(layer.digest().as_str());
        self.layers.iter().any(asked)
    }
}

pub(crate) fn index(entries: &[String]) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#,
        entries.join(",")
    )
}
