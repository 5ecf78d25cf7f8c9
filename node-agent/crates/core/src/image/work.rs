//! One pull at work: resolve, choose, prepare, build, record.

use std::sync::Arc;

use agent_registry::document::{Document, Manifest};
use agent_registry::{FetchedManifest, Repository};
use agent_types::{Digest, ImageId, Reference};

use super::config::{self, ParsedConfig};
use super::error::{LayerError, PullError};
use super::flight::{Flight, FlightKey};
use super::keyed::Lease;
use super::plan::{self, LayerPlan};
use super::progress::PullStatus;
use super::pull::{PullOutcome, Pulled};
use super::record::{ImageRecord, LayerRecord, Pin};
use super::stack::Stack;
use super::{Images, Inner};
use crate::metrics::Phase;
use crate::time::Timestamp;

/// One pull at work.
pub(super) struct Work<'a> {
    pub(super) inner: &'a Arc<Inner>,
    pub(super) key: &'a FlightKey,
    pub(super) flight: &'a Arc<Flight>,
    /// The reference, for messages.
    pub(super) name: String,
}

/// The manifest to unpack, and what led to it.
struct Chosen {
    /// What the reference named: the manifest itself, or an index.
    top: FetchedManifest,
    /// The manifest out of the index.
    child: Option<FetchedManifest>,
    manifest: Manifest,
}

impl Chosen {
    fn manifest_digest(&self) -> &Digest {
        &self.child.as_ref().unwrap_or(&self.top).digest
    }
}

impl Work<'_> {
    pub(super) async fn pull(&self) -> Result<Pulled, PullError> {
        let progress = &self.flight.progress;
        let phases = &self.inner.phases;
        let resolved = phases.time(Phase::PullResolve, self.resolve());
        let (repository, resolved) = self.unless_cancelled(resolved).await?;
        if let Some(digest) = &resolved
            && let Some(pulled) = self.adopt(digest).await?
        {
            progress.status(PullStatus::Done);
            return Ok(pulled);
        }
        let chosen = self.choose(&repository, resolved);
        let chosen = phases.time(Phase::PullManifest, chosen);
        let chosen = self.unless_cancelled(chosen).await?;
        progress.status(PullStatus::Resolved {
            digest: chosen.top.digest.clone(),
            platform: self.key.platform.clone(),
        });
        let mut lease = self.inner.leases.start();
        let done = self.fetch(repository, &chosen, &mut lease).await;
        if let Err(error) = &done
            && error.is_final()
        {
            let images = Images {
                inner: Arc::clone(self.inner),
            };
            images.discard(lease.give_up()).await;
        }
        done
    }

    /// Gets what the manifest names, and records the image.
    async fn fetch(
        &self,
        repository: Repository,
        chosen: &Chosen,
        lease: &mut Lease,
    ) -> Result<Pulled, PullError> {
        let progress = &self.flight.progress;
        let prepared = self.prepare(&repository, chosen, lease);
        let (parsed, plans) = self.unless_cancelled(prepared).await?;
        progress.layers(plans.iter().map(|plan| (plan.digest.clone(), plan.size)));
        progress.status(PullStatus::Fetching {
            layers: plans.len(),
            bytes: plans
                .iter()
                .map(|plan| plan.size)
                .fold(0, u64::saturating_add),
        });
        let stack = Stack {
            plans: plans.clone(),
            origin: Some(repository),
            progress: Arc::clone(progress),
        };
        let phases = &self.inner.phases;
        let built = Box::pin(stack.build(self.inner, &self.flight.cancelled));
        let built = phases.time(Phase::PullLayers, built).await;
        built.map_err(|(digest, source)| self.layer_failed(digest, source))?;
        let recorded = self.record(chosen, parsed, &plans);
        let image = phases.time(Phase::PullRecord, recorded).await?;
        self.inner.sync_soon();
        progress.status(PullStatus::Done);
        Ok(Pulled {
            image,
            digest: chosen.top.digest.clone(),
            outcome: PullOutcome::Downloaded,
        })
    }

    async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, PullError>>,
    ) -> Result<T, PullError> {
        tokio::select! {
            biased;
            () = self.flight.cancelled.cancelled() => Err(self.cancelled()),
            done = Box::pin(work) => done,
        }
    }

    fn cancelled(&self) -> PullError {
        PullError::Cancelled {
            reference: self.name.clone(),
        }
    }

    fn layer_failed(&self, digest: Digest, source: LayerError) -> PullError {
        match source {
            LayerError::Cancelled => self.cancelled(),
            source => PullError::Layer {
                reference: self.name.clone(),
                digest,
                source,
            },
        }
    }

    /// Looks up where the image is served, and asks there what the reference means now; a digest
    /// means itself.
    async fn resolve(&self) -> Result<(Repository, Option<Digest>), PullError> {
        let (reference, auth) = (&self.key.reference, &self.key.auth);
        let repository = self.inner.client.repository(reference, auth).await;
        let repository = repository.map_err(|source| PullError::Route {
            reference: self.name.clone(),
            source,
        })?;
        let digest = match reference.digest() {
            Some(digest) => Some(digest.clone()),
            None => {
                let resolved = repository.resolve().await;
                let resolved = resolved.map_err(|source| self.unresolved(source))?;
                resolved.digest
            }
        };
        Ok((repository, digest))
    }

    fn unresolved(&self, source: agent_registry::ManifestError) -> PullError {
        PullError::Resolve {
            reference: self.name.clone(),
            source,
        }
    }

    /// Names an image that is here already, if `digest` leads to one that is whole.
    async fn adopt(&self, digest: &Digest) -> Result<Option<Pulled>, PullError> {
        let name = self.key.reference.with_digest(digest.clone());
        let _changes = self.inner.changes.lock().await;
        let known = self
            .inner
            .catalog()
            .by_digest(&name, &self.key.platform)
            .cloned();
        let is_whole = |record: &Arc<ImageRecord>| {
            let mut layers = record.layers.iter();
            layers.all(|layer| self.inner.snapshots.contains(&layer.chain_id))
        };
        let Some(known) = known.filter(is_whole) else {
            return Ok(None);
        };
        let image = self.name_record((*known).clone(), digest).await?;
        Ok(Some(Pulled {
            image,
            digest: digest.clone(),
            outcome: PullOutcome::UpToDate,
        }))
    }

    /// Fetches the manifest, by way of an index if that is what the reference names.
    async fn choose(
        &self,
        repository: &Repository,
        resolved: Option<Digest>,
    ) -> Result<Chosen, PullError> {
        let failed = |source| self.unresolved(source);
        let top = repository.manifest(resolved.as_ref()).await;
        let top = top.map_err(failed)?;
        let index = match &top.document {
            Document::Index(index) => index,
            Document::Manifest(manifest) => {
                let manifest = manifest.clone();
                return Ok(Chosen {
                    top,
                    child: None,
                    manifest,
                });
            }
        };
        let none_fits = || PullError::NoPlatform {
            reference: self.name.clone(),
            platform: self.key.platform.clone(),
            offered: plan::offered(index),
        };
        let entry = plan::choose(index, &self.key.platform).ok_or_else(none_fits)?;
        let child = repository.child_manifest(&entry.descriptor).await;
        let child = child.map_err(failed)?;
        match child.document.clone() {
            Document::Manifest(manifest) => Ok(Chosen {
                top,
                child: Some(child),
                manifest,
            }),
            // The entry's media type has been checked, so this is never an index.
            Document::Index(_) => Err(none_fits()),
        }
    }

    /// Leases everything, keeps the documents, and reads the config.
    async fn prepare(
        &self,
        repository: &Repository,
        chosen: &Chosen,
        lease: &mut Lease,
    ) -> Result<(ParsedConfig, Vec<LayerPlan>), PullError> {
        let reference = || self.name.clone();
        let manifest = &chosen.manifest;
        if !plan::is_image(&manifest.config) {
            return Err(PullError::NotAnImage {
                reference: reference(),
                media_type: manifest.config.media_type.clone(),
            });
        }
        for document in [Some(&chosen.top), chosen.child.as_ref()]
            .into_iter()
            .flatten()
        {
            lease.blob(&document.digest);
            let kept = self
                .inner
                .keep_document(&document.digest, document.bytes.clone())
                .await;
            kept.map_err(|source| PullError::Keep {
                reference: reference(),
                digest: document.digest.clone(),
                source,
            })?;
        }
        lease.blob(&manifest.config.digest);
        let cap = self.inner.config.config_bytes;
        let bytes = self
            .inner
            .small_blob(repository, &manifest.config, cap)
            .await;
        let bytes = bytes.map_err(|source| PullError::FetchConfig {
            reference: reference(),
            source,
        })?;
        let parsed = config::parse(&bytes, manifest.layers.len());
        let parsed = parsed.map_err(|source| PullError::Config {
            reference: reference(),
            source,
        })?;
        if let Some(found) = &parsed.platform
            && self.key.platform.fit(found).is_none()
        {
            return Err(PullError::WrongPlatform {
                reference: reference(),
                platform: self.key.platform.clone(),
                found: found.clone(),
            });
        }
        let plans = plan::layers(manifest, &parsed.diff_ids);
        let plans = plans.map_err(|(digest, source)| self.layer_failed(digest, source))?;
        for plan in &plans {
            lease.blob(&plan.digest);
            lease.chain(&plan.chain);
        }
        Ok((parsed, plans))
    }

    /// Records the image under its names. From here on it exists.
    async fn record(
        &self,
        chosen: &Chosen,
        parsed: ParsedConfig,
        plans: &[LayerPlan],
    ) -> Result<Arc<ImageRecord>, PullError> {
        let layers = plans
            .iter()
            .zip(&chosen.manifest.layers)
            .map(|(plan, blob)| LayerRecord {
                digest: plan.digest.clone(),
                media_type: blob.media_type.clone(),
                compressed_size: plan.size,
                diff_id: plan.diff_id.clone(),
                chain_id: plan.chain.clone(),
                unpacked_size: self
                    .inner
                    .snapshots
                    .layer(&plan.chain)
                    .map_or(0, |layer| layer.size),
            });
        let mut record = ImageRecord {
            version: ImageRecord::VERSION,
            id: ImageId(chosen.manifest.config.digest.clone()),
            manifest: chosen.manifest_digest().clone(),
            index: chosen.child.is_some().then(|| chosen.top.digest.clone()),
            references: Vec::new(),
            digests: Vec::new(),
            platform: parsed.platform.unwrap_or_else(|| self.key.platform.clone()),
            config: parsed.config,
            layers: layers.collect(),
            pinned: Pin::None,
            removed: false,
            created_at: parsed.created_at,
            pulled_at: Timestamp::now(),
        };
        let _changes = self.inner.changes.lock().await;
        // The same config may have been pulled in other wrapping, under other names.
        if let Some(known) = self.inner.catalog().get(&record.id) {
            record.references.clone_from(&known.references);
            record.digests.clone_from(&known.digests);
            record.pinned = known.pinned;
        }
        self.name_record(record, &chosen.top.digest).await
    }

    /// Gives a record the names of this pull, takes them from other images, and saves all of
    /// that. The caller holds `changes`.
    async fn name_record(
        &self,
        mut record: ImageRecord,
        digest: &Digest,
    ) -> Result<Arc<ImageRecord>, PullError> {
        let by_digest = self.key.reference.with_digest(digest.clone());
        // A reference with a digest is no statement about its tag.
        let by_tag = Some(&self.key.reference).filter(|reference| reference.digest().is_none());
        let names: Vec<Reference> = std::iter::once(by_digest).chain(by_tag.cloned()).collect();
        for name in &names {
            record.add_name(name);
        }
        record.removed = false;
        if self.flight.pin() == Pin::Local {
            record.pinned = Pin::Local;
        }
        let id = record.id.clone();
        let mut changed = self.inner.catalog().without_names(&names, &id);
        changed.push(record);
        self.inner
            .save(changed)
            .await
            .map_err(|source| PullError::Record {
                reference: self.name.clone(),
                source,
            })?;
        let saved = self.inner.catalog().get(&id).cloned();
        saved.ok_or_else(|| self.cancelled())
    }
}
