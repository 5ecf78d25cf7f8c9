//! Manifests and indexes, read strictly: a document must be one thing, and say which.
//!
//! The same bytes must never be an index to one reader and a manifest to another, so a document
//! with the members of both is refused, and so is one whose own media type is not the one it
//! was served with.

use agent_types::{Classify, Digest, ErrorKind, Platform};
use serde::Deserialize;

/// Layers accepted in one manifest: what an overlay mount can stack.
pub const MAX_LAYERS: usize = 500;
/// Bytes accepted in a media type.
const MAX_MEDIA_TYPE: usize = 255;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const SCHEMA1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// What a client asks for.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// Why a manifest or index is refused.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON of the expected form.
    #[error("manifest is not valid")]
    Form {
        /// What is wrong and where.
        source: serde_json::Error,
    },
    /// Has the members of both a manifest and an index.
    #[error("manifest has both layers and manifests, so that readers would disagree on it")]
    Ambiguous,
    /// Served as one media type while saying another.
    #[error("manifest was served as {served:?} but says that it is {own:?}")]
    MediaTypeMismatch {
        /// The type of the answer or of the index entry that led here.
        served: String,
        /// The type in the document.
        own: String,
    },
    /// Of a media type this client does not know.
    #[error("media type {media_type:?} is not an image manifest or index")]
    MediaType {
        /// The type, cut to 255 characters.
        media_type: String,
    },
    /// The format that docker retired in 2017.
    #[error("manifest has docker schema version 1, which is no longer supported: push it again")]
    Schema1,
    /// Lacks what its media type demands.
    #[error("{media_type} has no {member}")]
    Missing {
        /// Its media type.
        media_type: &'static str,
        /// What it lacks.
        member: &'static str,
    },
    /// More layers than can be stacked.
    #[error("manifest has {count} layers, more than {MAX_LAYERS}")]
    TooManyLayers {
        /// How many it has.
        count: usize,
    },
}

impl Classify for DocumentError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::MediaType { .. } | Self::Schema1 => ErrorKind::Unimplemented,
            Self::TooManyLayers { .. } => ErrorKind::ResourceExhausted,
            Self::Form { .. }
            | Self::Ambiguous
            | Self::MediaTypeMismatch { .. }
            | Self::Missing { .. } => ErrorKind::FailedPrecondition,
        }
    }
}

/// The kinds of document a reference can lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaType {
    /// An OCI image manifest.
    OciManifest,
    /// An OCI image index.
    OciIndex,
    /// A docker schema 2 manifest.
    DockerManifest,
    /// A docker manifest list.
    DockerIndex,
}

impl MediaType {
    /// Returns the registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OciManifest => OCI_MANIFEST,
            Self::OciIndex => OCI_INDEX,
            Self::DockerManifest => DOCKER_MANIFEST,
            Self::DockerIndex => DOCKER_INDEX,
        }
    }

    /// Says whether documents of this type list others.
    #[must_use]
    pub const fn is_index(self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerIndex)
    }

    /// Reads a media type; parameters are ignored.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        match essence(text).as_str() {
            OCI_MANIFEST => Ok(Self::OciManifest),
            OCI_INDEX => Ok(Self::OciIndex),
            DOCKER_MANIFEST => Ok(Self::DockerManifest),
            DOCKER_INDEX => Ok(Self::DockerIndex),
            other if SCHEMA1.contains(&other) => Err(DocumentError::Schema1),
            other => Err(DocumentError::MediaType {
                media_type: cut(other),
            }),
        }
    }
}

fn essence(text: &str) -> String {
    let (essence, _) = text.split_once(';').unwrap_or((text, ""));
    essence.trim().to_ascii_lowercase()
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_MEDIA_TYPE).collect()
}

/// Points at a blob: what it is, how it hashes and how large it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// What kind of blob it is; any text of up to 255 bytes.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// One entry of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The manifest it points at.
    pub descriptor: Descriptor,
    /// What the image runs on; none if the index does not say.
    pub platform: Option<Platform>,
}

/// A manifest: one image for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The image's configuration.
    pub config: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// An index: one image for several platforms. Entries that break the format are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its entries, in its order.
    pub entries: Vec<IndexEntry>,
}

/// What a reference leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// A choice of images.
    Index(Index),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<serde_json::Value>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: MediaTypeText,
    digest: Digest,
    /// Unsigned, so that a negative size does not parse.
    size: u64,
    platform: Option<RawPlatform>,
}

#[derive(Deserialize)]
struct RawPlatform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: String,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct MediaTypeText(String);

impl TryFrom<String> for MediaTypeText {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        if text.is_empty()
            || text.len() > MAX_MEDIA_TYPE
            || !text.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err("media type is empty, too long or not plain text");
        }
        Ok(Self(text))
    }
}

impl From<RawDescriptor> for Descriptor {
    fn from(raw: RawDescriptor) -> Self {
        Self {
            media_type: raw.media_type.0,
            digest: raw.digest,
            size: raw.size,
        }
    }
}

/// Reads a document that was served as `content_type`, if the server said.
///
/// A generic type, or none, lets the document speak for itself.
pub fn parse(
    bytes: &[u8],
    content_type: Option<&str>,
) -> Result<(MediaType, Document), DocumentError> {
    let served = content_type.map(essence).filter(|text| !is_generic(text));
    if let Some(served) = &served {
        MediaType::parse(served)?;
    }
    let raw: RawDocument =
        serde_json::from_slice(bytes).map_err(|source| DocumentError::Form { source })?;
    if raw.fs_layers.is_some() || raw.schema_version == Some(1) {
        return Err(DocumentError::Schema1);
    }
    if raw.manifests.is_some() && (raw.layers.is_some() || raw.config.is_some()) {
        return Err(DocumentError::Ambiguous);
    }
    let media_type = match (&served, &raw.media_type) {
        (Some(served), Some(own)) if essence(own) != *served => {
            return Err(DocumentError::MediaTypeMismatch {
                served: cut(served),
                own: cut(own),
            });
        }
        (Some(known), _) | (None, Some(known)) => MediaType::parse(known)?,
        (None, None) => {
            return Err(DocumentError::MediaType {
                media_type: String::new(),
            });
        }
    };
    let document = if media_type.is_index() {
        Document::Index(index(media_type, raw)?)
    } else {
        Document::Manifest(manifest(media_type, raw)?)
    };
    Ok((media_type, document))
}

/// Types that servers give to what they do not know.
fn is_generic(essence: &str) -> bool {
    matches!(
        essence,
        "" | "application/json" | "application/octet-stream" | "text/plain" | "binary/octet-stream"
    )
}

fn manifest(media_type: MediaType, raw: RawDocument) -> Result<Manifest, DocumentError> {
    let missing = |member| DocumentError::Missing {
        media_type: media_type.name(),
        member,
    };
    let layers = raw.layers.ok_or_else(|| missing("layers"))?;
    if layers.len() > MAX_LAYERS {
        return Err(DocumentError::TooManyLayers {
            count: layers.len(),
        });
    }
    Ok(Manifest {
        config: raw.config.ok_or_else(|| missing("config"))?.into(),
        layers: layers.into_iter().map(Into::into).collect(),
    })
}

fn index(media_type: MediaType, raw: RawDocument) -> Result<Index, DocumentError> {
    let entries = raw.manifests.ok_or(DocumentError::Missing {
        media_type: media_type.name(),
        member: "manifests",
    })?;
    let readable = |entry| serde_json::from_value::<RawDescriptor>(entry).ok();
    Ok(Index {
        entries: entries
            .into_iter()
            .filter_map(readable)
            .map(|mut raw| IndexEntry {
                platform: raw
                    .platform
                    .take()
                    .map(|raw| Platform::new(&raw.os, &raw.architecture, &raw.variant)),
                descriptor: raw.into(),
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn descriptor(media_type: &str, size: &str) -> String {
        let digest = format!("sha256:{}", "a".repeat(64));
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
    }

    fn image(own: &str, layers: usize) -> String {
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "1");
        let config = descriptor("application/vnd.oci.image.config.v1+json", "2");
        format!(
            r#"{{"schemaVersion":2,{own}"config":{config},"layers":[{}]}}"#,
            vec![layer; layers].join(",")
        )
    }

    fn refused(text: &str, served: Option<&str>) -> DocumentError {
        parse(text.as_bytes(), served).unwrap_err()
    }

    #[test]
    fn a_manifest_of_120_layers_is_read() {
        let (media_type, document) = parse(image("", 120).as_bytes(), Some(OCI_MANIFEST)).unwrap();
        assert_eq!(media_type, MediaType::OciManifest);
        let Document::Manifest(manifest) = document else {
            panic!("{document:?}")
        };
        assert_eq!(manifest.layers.len(), 120);
        assert_eq!(manifest.config.size, 2);
        assert!(matches!(
            refused(&image("", 501), Some(OCI_MANIFEST)),
            DocumentError::TooManyLayers { count: 501 }
        ));
    }

    #[test]
    fn hostile_15_a_document_is_one_thing_only() {
        let both = image(r#""manifests":[],"#, 1);
        for served in [OCI_MANIFEST, OCI_INDEX] {
            assert!(matches!(
                refused(&both, Some(served)),
                DocumentError::Ambiguous
            ));
        }
        let says_index = image(&format!(r#""mediaType":"{OCI_INDEX}","#), 1);
        assert!(matches!(
            refused(&says_index, Some(OCI_MANIFEST)),
            DocumentError::MediaTypeMismatch { .. }
        ));
        assert!(matches!(
            refused(&image("", 1), Some(OCI_INDEX)),
            DocumentError::Missing {
                member: "manifests",
                ..
            }
        ));
        let twice = image(r#""layers":[],"#, 1);
        assert!(matches!(
            refused(&twice, Some(OCI_MANIFEST)),
            DocumentError::Form { .. }
        ));
    }

    #[test]
    fn a_document_may_speak_for_itself_but_must_speak() {
        let own = image(&format!(r#""mediaType":"{DOCKER_MANIFEST}","#), 1);
        for served in [
            None,
            Some("application/json; charset=utf-8"),
            Some(DOCKER_MANIFEST),
        ] {
            let (media_type, _) = parse(own.as_bytes(), served).unwrap();
            assert_eq!(media_type, MediaType::DockerManifest);
        }
        assert!(matches!(
            refused(&image("", 1), None),
            DocumentError::MediaType { .. }
        ));
        let html = refused("<html>", Some("text/html"));
        assert!(html.to_string().contains("text/html"), "{html}");
    }

    #[test]
    fn what_is_old_or_broken_is_named() {
        assert!(matches!(
            refused("{}", Some(SCHEMA1[1])),
            DocumentError::Schema1
        ));
        let old = r#"{"schemaVersion":1,"fsLayers":[],"name":"x"}"#;
        assert!(matches!(
            refused(old, Some("application/json")),
            DocumentError::Schema1
        ));
        for size in ["-1", "1.5", "99999999999999999999", "\"1\"", "null"] {
            let text = image("", 0).replace(r#""size":2"#, &format!(r#""size":{size}"#));
            assert!(
                matches!(
                    refused(&text, Some(OCI_MANIFEST)),
                    DocumentError::Form { .. }
                ),
                "{size}"
            );
        }
        let path = image("", 1).replace(&"a".repeat(64), "../../../../etc/passwd");
        assert!(matches!(
            refused(&path, Some(OCI_MANIFEST)),
            DocumentError::Form { .. }
        ));
    }

    #[test]
    fn broken_and_foreign_entries_do_not_spoil_an_index() {
        let good = descriptor(OCI_MANIFEST, "7").replace(
            "\"size\":7",
            r#""size":7,"platform":{"os":"linux","architecture":"x86_64"}"#,
        );
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"digest":"sha256:zz"}},null,{},{},{good}]}}"#,
            descriptor(OCI_MANIFEST, "-1"),
            descriptor(OCI_MANIFEST, "1"),
        );
        let (_, document) = parse(text.as_bytes(), Some(OCI_INDEX)).unwrap();
        let Document::Index(index) = document else {
            panic!("{document:?}")
        };
        assert_eq!(index.entries.len(), 2);
        assert_eq!(index.entries[0].platform, None);
        assert_eq!(
            index.entries[1].platform,
            Some(Platform::new("linux", "amd64", ""))
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall_over(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0_usize..400,
        ) {
            let _ = parse(&bytes, Some(OCI_MANIFEST));
            let whole = image("", 1);
            let cut = cut.min(whole.len() - 1);
            prop_assert!(parse(&whole.as_bytes()[..cut], Some(OCI_MANIFEST)).is_err());
        }
    }
}
