//! The client: what a caller can ask registries for.

use std::sync::Arc;

use agent_types::digest::Algorithm;
use agent_types::{Digest, Reference};
use reqwest::Method;
use reqwest::header::ACCEPT;
use sha2::{Digest as _, Sha256, Sha512};
use tokio::runtime::Handle;

use crate::auth::Auth;
use crate::blob::BlobStream;
use crate::config::Config;
use crate::document::{self, Descriptor, Document, DocumentError, MediaType};
use crate::error::{ConfigError, ManifestError, RequestError};
use crate::hosts::{self, Capability, Host, RouteError};
use crate::session::{Answered, Ask, Session, Shared};
use crate::token::Proofs;
use crate::transport::{Exchange, Transport};

/// Speaks to registries; a cheap handle, every clone shares connections and tokens.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

/// A repository on the hosts that serve it, as they were looked up once: for one pull.
#[derive(Debug, Clone)]
pub struct Repository {
    session: Session,
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

    /// Looks up where a repository is served, as the files of the node say now.
    pub async fn repository(
        &self,
        reference: &Reference,
        auth: &Auth,
    ) -> Result<Repository, RouteError> {
        let shared = Arc::clone(&self.shared);
        let (wanted, auth) = (reference.clone(), auth.clone());
        let runtime = Handle::current();
        let read = move || hosts::route(&shared.transport, &wanted, &auth, runtime);
        let route = tokio::task::spawn_blocking(read).await;
        let route = route.map_err(|_| RouteError::Interrupted {
            registry: reference.registry().to_owned(),
        })??;
        let shared = Arc::clone(&self.shared);
        Ok(Repository {
            session: Session::new(shared, reference.clone(), Arc::new(route)),
        })
    }
}

impl Repository {
    /// Asks what the reference points at, without fetching it.
    pub async fn resolve(&self) -> Result<Resolved, ManifestError> {
        let reference = self.session.reference();
        loop {
            let Answered { exchange, host } = match self.ask(reference, Method::HEAD).await {
                Ok(answered) => answered,
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
            let error = match (reference.digest(), announced) {
                (Some(expected), Some(actual)) if *expected != actual => ManifestError::Digest {
                    what: reference.familiar(),
                    expected: expected.clone(),
                    actual,
                },
                (expected, announced) => {
                    return Ok(Resolved {
                        digest: expected.cloned().or(announced),
                    });
                }
            };
            if !self.pass_over(&host, reference, &error) {
                return Err(error);
            }
        }
    }

    /// Fetches what the reference points at, or the document of a digest, and checks that it is
    /// what it claims to be. A mirror that has something else is passed over.
    pub async fn manifest(
        &self,
        digest: Option<&Digest>,
    ) -> Result<FetchedManifest, ManifestError> {
        let reference = match digest {
            Some(digest) => self.session.reference().with_digest(digest.clone()),
            None => self.session.reference().clone(),
        };
        loop {
            let asked = self.ask(&reference, Method::GET).await;
            let Answered { exchange, host } = asked.map_err(|source| ManifestError::Request {
                what: reference.familiar(),
                source,
            })?;
            match self.read(&reference, exchange).await {
                Err(error)
                    if error.blames_content() && self.pass_over(&host, &reference, &error) => {}
                outcome => return outcome,
            }
        }
    }

    /// Reads an answer and checks that it is what the reference means.
    async fn read(
        &self,
        reference: &Reference,
        exchange: Exchange,
    ) -> Result<FetchedManifest, ManifestError> {
        let what = reference.familiar();
        let expected = reference
            .digest()
            .cloned()
            .or_else(|| announced_digest(&exchange));
        let content_type = exchange.header("content-type").map(str::to_owned);
        let cap = self.session.shared.transport.config().limits.manifest;
        let bytes = match exchange.body(cap).await {
            Ok(bytes) => bytes,
            Err(source) => return Err(ManifestError::Request { what, source }),
        };
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
        entry: &Descriptor,
    ) -> Result<FetchedManifest, ManifestError> {
        let child = self.session.reference().with_digest(entry.digest.clone());
        let what = child.familiar();
        let refused = |source| ManifestError::Document {
            what: what.clone(),
            source,
        };
        let expected = MediaType::parse(&entry.media_type).map_err(refused)?;
        let fetched = self.manifest(Some(&entry.digest)).await?;
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
    pub fn blob(&self, digest: &Digest, size: Option<u64>, offset: u64) -> BlobStream {
        BlobStream::new(self.session.clone(), digest, size, offset)
    }

    fn pass_over(&self, host: &Arc<Host>, reference: &Reference, error: &ManifestError) -> bool {
        self.session.pass_over(host, capability(reference), error)
    }

    async fn ask(&self, reference: &Reference, method: Method) -> Result<Answered, RequestError> {
        let ask = Ask {
            method,
            capability: capability(reference),
            path: format!("manifests/{}", reference.manifest_name()),
            headers: vec![(ACCEPT, document::ACCEPT.to_owned())],
            what: format!("manifest of {}", reference.familiar()),
        };
        self.session.send_until_answered(&ask).await
    }
}

fn capability(reference: &Reference) -> Capability {
    match reference.digest() {
        Some(_) => Capability::Pull,
        None => Capability::Resolve,
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
