//! Why an operation on images failed, an enum an operation.

use std::sync::Arc;

use agent_content::{BlobError, CommitError, FileError, IngestError};
use agent_registry::{ManifestError, RequestError, RouteError};
use agent_snapshot::{CommitError as CommitLayerError, UnpackError};
use agent_types::{Classify, Digest, ErrorKind, ImageId, Platform, Reference};

use super::catalog::ResolveError;
use super::config::ConfigError;
use super::records::RecordsError;

/// Why the images could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("images could not be opened")]
pub struct OpenImagesError(#[from] RecordsError);

impl Classify for OpenImagesError {
    fn kind(&self) -> ErrorKind {
        self.0.kind()
    }
}

/// Why an image could not be pulled. No layer of it that is not whole is left.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// What the node's files say of the registry cannot be used.
    #[error("registry of image {reference} could not be looked up")]
    Route {
        /// The image.
        reference: String,
        /// What is wrong.
        source: RouteError,
    },
    /// What the reference leads to could not be had.
    #[error("image {reference} could not be pulled")]
    Resolve {
        /// The image.
        reference: String,
        /// What went wrong.
        source: ManifestError,
    },
    /// The index has nothing for the platform.
    #[error(
        "image {reference} is not offered for {platform}, but for {}",
        listed(offered)
    )]
    NoPlatform {
        /// The image.
        reference: String,
        /// What was looked for.
        platform: Platform,
        /// What there is.
        offered: Vec<Platform>,
    },
    /// The only image there is runs elsewhere.
    #[error("image {reference} is for {found}, not for {platform}")]
    WrongPlatform {
        /// The image.
        reference: String,
        /// What was looked for.
        platform: Platform,
        /// What it is for.
        found: Platform,
    },
    /// The manifest is that of some other artifact.
    #[error("{reference} is not a container image: its config has media type {media_type:?}")]
    NotAnImage {
        /// The name.
        reference: String,
        /// What the config is.
        media_type: String,
    },
    /// The config could not be fetched.
    #[error("config of image {reference} could not be fetched")]
    FetchConfig {
        /// The image.
        reference: String,
        /// What went wrong.
        source: LayerError,
    },
    /// The config is not acceptable.
    #[error("config of image {reference} is refused")]
    Config {
        /// The image.
        reference: String,
        /// What is wrong.
        source: ConfigError,
    },
    /// A document could not be kept.
    #[error("manifest {digest} of image {reference} could not be stored")]
    Keep {
        /// The image.
        reference: String,
        /// The document.
        digest: Digest,
        /// What went wrong.
        source: LayerError,
    },
    /// A layer could not be had.
    #[error("layer {digest} of image {reference} could not be pulled")]
    Layer {
        /// The image.
        reference: String,
        /// The layer's blob.
        digest: Digest,
        /// What went wrong.
        source: LayerError,
    },
    /// Everything is there but the record.
    #[error("image {reference} could not be recorded")]
    Record {
        /// The image.
        reference: String,
        /// What went wrong.
        source: RecordsError,
    },
    /// Everybody who waited has gone.
    #[error("pull of image {reference} was cancelled")]
    Cancelled {
        /// The image.
        reference: String,
    },
}

impl PullError {
    /// Says whether the image itself is refused, so that keeping parts of it is of no use.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::NotAnImage { .. } | Self::WrongPlatform { .. } | Self::Config { .. } => true,
            Self::FetchConfig { source, .. } | Self::Layer { source, .. } => source.is_final(),
            Self::Route { .. }
            | Self::Resolve { .. }
            | Self::NoPlatform { .. }
            | Self::Keep { .. }
            | Self::Record { .. }
            | Self::Cancelled { .. } => false,
        }
    }
}

fn listed(platforms: &[Platform]) -> String {
    match platforms {
        [] => "nothing that is named".to_owned(),
        some => some
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

impl Classify for PullError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Route { source, .. } => source.kind(),
            Self::Resolve { source, .. } => source.kind(),
            Self::NoPlatform { .. } | Self::WrongPlatform { .. } => ErrorKind::NotFound,
            Self::NotAnImage { .. } => ErrorKind::FailedPrecondition,
            Self::Config { source, .. } => source.kind(),
            Self::FetchConfig { source, .. }
            | Self::Keep { source, .. }
            | Self::Layer { source, .. } => source.kind(),
            Self::Record { source, .. } => source.kind(),
            Self::Cancelled { .. } => ErrorKind::Cancelled,
        }
    }
}

/// A failed pull, as all who waited for it get it.
#[derive(Debug, Clone)]
pub struct PullFailure(Arc<PullError>);

impl PullFailure {
    /// Returns the error itself.
    #[must_use]
    pub fn error(&self) -> &PullError {
        &self.0
    }
}

impl From<PullError> for PullFailure {
    fn from(error: PullError) -> Self {
        Self(Arc::new(error))
    }
}

impl std::fmt::Display for PullFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for PullFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Classify for PullFailure {
    fn kind(&self) -> ErrorKind {
        self.0.kind()
    }
}

/// Why a blob of an image could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Of a media type that is no layer.
    #[error("media type {media_type:?} is not a layer this node can unpack")]
    MediaType {
        /// The type.
        media_type: String,
    },
    /// The registry did not give it.
    #[error("blob could not be fetched")]
    Fetch(#[from] RequestError),
    /// It could not be received.
    #[error("blob could not be received")]
    Ingest(#[from] IngestError),
    /// What was received is not what was asked for.
    #[error("blob was not accepted")]
    Accept(#[from] CommitError),
    /// The stored blob could not be used.
    #[error("stored blob could not be used")]
    Stored(#[from] BlobError),
    /// It could not be unpacked.
    #[error("layer could not be unpacked")]
    Unpack(#[from] UnpackError),
    /// The archive in it is another than the config says.
    #[error("layer unpacks to {actual}, but the image config says {expected}")]
    DiffId {
        /// By the config.
        expected: Digest,
        /// By its bytes.
        actual: Digest,
    },
    /// It could not take its place on the layers below.
    #[error("layer could not be committed")]
    Commit(#[from] CommitLayerError),
    /// Larger than this node takes.
    #[error("blob has {size} bytes, more than {cap}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        cap: u64,
    },
    /// Not stored, and nowhere to fetch it from.
    #[error("blob is not stored on this node")]
    Missing,
    /// Others failed, or nobody waits any more.
    #[error("work on it was cancelled")]
    Cancelled,
}

impl LayerError {
    /// Says whether the bytes themselves are at fault, so that keeping them is of no use.
    pub(super) fn blames_content(&self) -> bool {
        match self {
            Self::DiffId { .. } | Self::TooLarge { .. } => true,
            Self::Accept(error) => matches!(error, CommitError::Corrupt { .. }),
            Self::Ingest(error) => {
                matches!(error, IngestError::TooLarge { .. })
                    || error.kind() == ErrorKind::ResourceExhausted
            }
            Self::Fetch(error) => matches!(
                error,
                RequestError::TooLarge { .. } | RequestError::Size { .. }
            ),
            Self::Unpack(error) => !matches!(
                error,
                UnpackError::Read { .. } | UnpackError::Staging { .. } | UnpackError::Thread { .. }
            ),
            Self::MediaType { .. }
            | Self::Stored(_)
            | Self::Commit(_)
            | Self::Missing
            | Self::Cancelled => false,
        }
    }
}

impl LayerError {
    /// Says whether another try would come to the same: the bytes are those that were asked for,
    /// and they are no layer.
    fn is_final(&self) -> bool {
        match self {
            Self::MediaType { .. } | Self::TooLarge { .. } | Self::DiffId { .. } => true,
            Self::Unpack(_) => self.blames_content(),
            Self::Commit(error) => refused(error.kind()) == ErrorKind::FailedPrecondition,
            Self::Fetch(_)
            | Self::Ingest(_)
            | Self::Accept(_)
            | Self::Stored(_)
            | Self::Missing
            | Self::Cancelled => false,
        }
    }
}

impl Classify for LayerError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::MediaType { .. } => ErrorKind::Unimplemented,
            Self::Fetch(error) => error.kind(),
            Self::Ingest(error) => error.kind(),
            Self::Accept(error) => error.kind(),
            Self::Stored(error) => error.kind(),
            Self::Unpack(error) => refused(error.kind()),
            Self::Commit(error) => refused(error.kind()),
            Self::DiffId { .. } | Self::Missing => ErrorKind::FailedPrecondition,
            Self::TooLarge { .. } => ErrorKind::ResourceExhausted,
            Self::Cancelled => ErrorKind::Cancelled,
        }
    }
}

/// A hostile layer is the registry's fault and not the caller's argument.
fn refused(kind: ErrorKind) -> ErrorKind {
    match kind {
        ErrorKind::InvalidArgument => ErrorKind::FailedPrecondition,
        other => other,
    }
}

/// Why an image's layers are not there and cannot be.
#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    /// No such image.
    #[error("image {id} does not exist")]
    NotFound {
        /// Which one.
        id: ImageId,
    },
    /// A layer that a crash cost could not be unpacked again.
    #[error("layer {digest} of image {id} could not be unpacked again; pull the image again")]
    Layer {
        /// The image.
        id: ImageId,
        /// The layer's blob.
        digest: Digest,
        /// What went wrong.
        source: LayerError,
    },
}

impl Classify for EnsureError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Layer { source, .. } => source.kind(),
        }
    }
}

/// Why an image could not be given a name.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// Nothing to name.
    #[error("image could not be tagged as {target}")]
    Source {
        /// The new name.
        target: Reference,
        /// Why the image was not found.
        source: ResolveError,
    },
    /// The new name is one by digest, which only a registry can give.
    #[error("an image cannot be tagged as {target}: a new name cannot have a digest")]
    Digest {
        /// The new name.
        target: Reference,
    },
    /// The record could not be saved.
    #[error("name {target} could not be recorded")]
    Save {
        /// The new name.
        target: Reference,
        /// What went wrong.
        source: RecordsError,
    },
}

impl Classify for TagError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Source { source, .. } => source.kind(),
            Self::Digest { .. } => ErrorKind::InvalidArgument,
            Self::Save { source, .. } => source.kind(),
        }
    }
}

/// Why an image could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// No such image.
    #[error("image could not be removed")]
    Resolve(#[from] ResolveError),
    /// A container was made from it.
    #[error("image {id} is used by a container")]
    InUse {
        /// Which one.
        id: ImageId,
    },
    /// It was named by id and has names in several repositories.
    #[error("image {id} has names in several repositories; remove them one by one, or by force")]
    SeveralNames {
        /// Which one.
        id: ImageId,
    },
    /// The record could not be changed.
    #[error("removal of image {id} could not be recorded")]
    Save {
        /// Which one.
        id: ImageId,
        /// What went wrong.
        source: RecordsError,
    },
}

impl Classify for RemoveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Resolve(error) => error.kind(),
            Self::InUse { .. } | Self::SeveralNames { .. } => ErrorKind::FailedPrecondition,
            Self::Save { source, .. } => source.kind(),
        }
    }
}

/// Why a change to an image could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// No such image.
    #[error("image {id} does not exist")]
    NotFound {
        /// Which one.
        id: ImageId,
    },
    /// The record could not be saved.
    #[error("image {id} could not be recorded")]
    Save {
        /// Which one.
        id: ImageId,
        /// What went wrong.
        source: RecordsError,
    },
}

impl Classify for SaveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Save { source, .. } => source.kind(),
        }
    }
}

/// Why garbage could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The record of an image that is gone could not be removed.
    #[error("record of image {id} could not be removed")]
    Record {
        /// The image.
        id: ImageId,
        /// What went wrong.
        source: RecordsError,
    },
    /// The blobs could not be listed.
    #[error("unused blobs could not be found")]
    List(#[from] FileError),
}

impl Classify for CollectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Record { source, .. } => source.kind(),
            Self::List(error) => error.kind(),
        }
    }
}

/// Why the space that images take could not be counted.
#[derive(Debug, thiserror::Error)]
#[error("space taken by images could not be counted")]
pub struct FsUsageError(#[from] FileError);

impl Classify for FsUsageError {
    fn kind(&self) -> ErrorKind {
        self.0.kind()
    }
}
