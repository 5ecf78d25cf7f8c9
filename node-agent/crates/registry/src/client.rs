//! The client: what a caller can ask registries for.

use std::sync::Arc;

use agent_types::digest::Algorithm;
use agent_types::{Digest, Reference};
use reqwest::Method;
use reqwest::header::ACCEPT;
use sha2::{Digest as _, Sha256, Sha512};

use crate::auth::Auth;
use crate::blob::BlobStream;
use crate::config::Config;
use crate::document::{self, Descriptor, Document, DocumentError, MediaType};
use crate::error::{ConfigError, ManifestError, RequestError};
use crate::session::{Ask, Session, Shared};
use crate::token::Proofs;
use crate::transport::{Exchange, Transport};

/// Speaks to registries; a cheap handle, every clone shares connections and tokens.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

/// What a reference points at now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The digest of the manifest or index; none if the registry only tells with the document.
    pub digest: Option<Digest>,
}

/// A manifest or index, hashed and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedManifest {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they hash to.
    pub digest: Digest,
    /// What it is.
    pub media_type: MediaType,
    /// What it says.
    pub document: Document,
}

impl Client {
    /// Makes a client; nothing is connected to yet.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self {
            shared: Arc::new(Shared {
                transport: Transport::new(config)?,
                proofs: Proofs::default(),
            }),
        })
    }

    /// Asks what a reference points at, without fetching it.
    pub async fn resolve(
        &self,
        reference: &Reference,
        auth: &Auth,
    ) -> Result<Resolved, ManifestError> {
        let exchange = match self.ask(reference, auth, Method::HEAD).await {
            Ok(exchange) => exchange,
            // Some servers only know GET; then the digest comes with the document.
            Err(RequestError::Status { status, .. })
                if matches!(status.as_u16(), 400 | 405 | 501) =>
            {
                return Ok(Resolved {
                    digest: reference.digest().cloned(),
                });
            }
            Err(source) => {
                let what = reference.familiar();
                return Err(ManifestError::Request { what, source });
            }
        };
        let announced = announced_digest(&exchange);
        match (reference.digest(), announced) {
            (Some(expected), Some(actual)) if *expected != actual => Err(ManifestError::Digest {
                what: reference.familiar(),
                expected: expected.clone(),
                actual,
            }),
            (expected, announced) => Ok(Resolved {
                digest: expected.cloned().or(announced),
            }),
        }
    }

    /// Fetches what a reference points at and checks that it is what it claims to be.
    pub async fn manifest(
        &self,
        reference: &Reference,
        auth: &Auth,
    ) -> Result<FetchedManifest, ManifestError> {
        let what = reference.familiar();
        let failed = |source| ManifestError::Request {
            what: what.clone(),
            source,
        };
        let exchange = self
            .ask(reference, auth, Method::GET)
            .await
            .map_err(failed)?;
        let expected = reference
            .digest()
            .cloned()
            .or_else(|| announced_digest(&exchange));
        let content_type = exchange.header("content-type").map(str::to_owned);
        let cap = self.shared.transport.config().limits.manifest;
        let bytes = exchange.body(cap).await.map_err(failed)?;
        let algorithm = expected
            .as_ref()
            .map_or(Algorithm::Sha256, Digest::algorithm);
        let digest = digest_of(algorithm, &bytes);
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(ManifestError::Digest {
                what,
                expected,
                actual: digest,
            });
        }
        let (media_type, document) = document::parse(&bytes, content_type.as_deref())
            .map_err(|source| ManifestError::Document { what, source })?;
        Ok(FetchedManifest {
            bytes,
            digest,
            media_type,
            document,
        })
    }

    /// Fetches an entry of an index and checks that it is what the entry says.
    pub async fn child_manifest(
        &self,
        reference: &Reference,
        auth: &Auth,
        entry: &Descriptor,
    ) -> Result<FetchedManifest, ManifestError> {
        let child = reference.with_digest(entry.digest.clone());
        let what = child.familiar();
        let refused = |source| ManifestError::Document {
            what: what.clone(),
            source,
        };
        let expected = MediaType::parse(&entry.media_type).map_err(refused)?;
        let fetched = self.manifest(&child, auth).await?;
        if fetched.media_type != expected {
            return Err(refused(DocumentError::MediaTypeMismatch {
                served: entry.media_type.clone(),
                own: fetched.media_type.name().to_owned(),
            }));
        }
        Ok(fetched)
    }

    /// Streams a blob from `offset` on; `size` is what its descriptor says.
    ///
    /// Nothing is sent until the first bytes are asked for.
    #[must_use]
    pub fn blob(
        &self,
        reference: &Reference,
        auth: &Auth,
        blob: (&Digest, Option<u64>),
        offset: u64,
    ) -> BlobStream {
        let session = Session::new(Arc::clone(&self.shared), reference, auth);
        BlobStream::new(session, blob.0, blob.1, offset)
    }

    async fn ask(
        &self,
        reference: &Reference,
        auth: &Auth,
        method: Method,
    ) -> Result<Exchange, RequestError> {
        let ask = Ask {
            method,
            path: format!("manifests/{}", reference.manifest_name()),
            headers: vec![(ACCEPT, document::ACCEPT.to_owned())],
            what: format!("manifest of {}", reference.familiar()),
        };
        Session::new(Arc::clone(&self.shared), reference, auth)
            .send_until_answered(&ask)
            .await
    }
}

fn announced_digest(exchange: &Exchange) -> Option<Digest> {
    exchange.header("docker-content-digest")?.parse().ok()
}

fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    match algorithm {
        Algorithm::Sha256 => Digest::sha256(&Sha256::digest(bytes).into()),
        Algorithm::Sha512 => Digest::sha512(&Sha512::digest(bytes).into()),
    }
}
