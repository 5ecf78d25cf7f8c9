//! One layer on its way: fetched, kept, inflated and unpacked at once, then checked.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use agent_content::{CommitError, ContentStore, Expected, Ingest};
use agent_registry::{BlobStream, Repository, RequestError};
use agent_snapshot::{ChainId, UnpackError, Unpacked};
use agent_types::Digest;
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::error::LayerError;
use super::feed::{Feed, Tee, feed};
use super::keyed::Held;
use super::plan::LayerPlan;
use super::progress::{LayerPhase, Progress};
use super::sync::{blocking, finished};
use crate::metrics::Phase;

/// Bytes fetched beyond a refused entry, only to tell a corrupt blob from a hostile one.
const DIAGNOSIS: u64 = 64 << 20;

/// The work on one layer.
#[derive(Debug)]
pub(super) struct LayerJob {
    pub(super) inner: Arc<Inner>,
    pub(super) plan: LayerPlan,
    /// None: only what is stored may be used.
    pub(super) origin: Option<Repository>,
    pub(super) progress: Arc<Progress>,
    pub(super) cancelled: CancellationToken,
}

/// A layer that can be committed, or was before; nobody else works on its chain id meanwhile.
#[derive(Debug)]
pub(super) struct Obtained {
    pub(super) unpacked: Option<Unpacked>,
    _held: Held<ChainId>,
}

/// How a fetch ended.
enum Fetched {
    Whole,
    /// The unpacking side has stopped and says why.
    HungUp,
    Cancelled,
    Failed(RequestError),
}

/// Why a transfer came to nothing.
enum Refused {
    ForGood(LayerError),
    /// Mirrors gave bytes that are not the blob's, and are not asked again.
    ByMirrors,
}

/// What the unpacking side could not do, and what it had received.
struct Failed {
    error: LayerError,
    ingest: Option<Ingest>,
}

impl LayerJob {
    /// Unpacks the layer unless it is there; waits for others who do the same.
    pub(super) async fn obtain(&self) -> Result<Obtained, LayerError> {
        let held = self
            .unless_cancelled(self.inner.chains.lock(&self.plan.chain))
            .await?;
        let unpacked = if self.inner.snapshots.contains(&self.plan.chain) {
            self.note(LayerPhase::Exists, self.plan.size);
            None
        } else {
            // Another image may have the same blob on other layers; then it is fetched once.
            let _blob = self
                .unless_cancelled(self.inner.blobs.lock(&self.plan.digest))
                .await?;
            let _slot = self.unless_cancelled(self.inner.slots.acquire()).await?;
            Some(self.unpack().await?)
        };
        Ok(Obtained {
            unpacked,
            _held: held,
        })
    }

    async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, LayerError> {
        tokio::select! {
            biased;
            () = self.cancelled.cancelled() => Err(LayerError::Cancelled),
            done = work => Ok(done),
        }
    }

    fn note(&self, phase: LayerPhase, current: u64) {
        self.progress.layer(self.plan.index, phase, current);
    }

    async fn unpack(&self) -> Result<Unpacked, LayerError> {
        let (content, digest) = (self.inner.content.clone(), self.plan.digest.clone());
        let stored = blocking(move || open_stored(&content, &digest)).await?;
        match (stored, &self.origin) {
            (Some(file), _) => self.unpack_stored(file).await,
            (None, Some(origin)) => self.fetch_and_unpack(origin).await,
            (None, None) => Err(LayerError::Missing),
        }
    }

    async fn unpack_stored(&self, file: File) -> Result<Unpacked, LayerError> {
        self.note(LayerPhase::Unpacking, self.plan.size);
        let (inner, plan) = (Arc::clone(&self.inner), self.plan.clone());
        let mut reader = Interruptible {
            reader: file,
            cancelled: self.cancelled.clone(),
        };
        let outcome = blocking(move || {
            let limits = &inner.config.unpack;
            let unpacked = inner
                .snapshots
                .unpack(&mut reader, Some(plan.compression), limits)?;
            check_diff_id(&plan, &unpacked)?;
            Ok(unpacked)
        });
        match self.inner.phases.time(Phase::PullUnpack, outcome).await {
            Err(_) if self.cancelled.is_cancelled() => Err(LayerError::Cancelled),
            other => other,
        }
    }

    /// Fetches what is missing. Bytes left by an earlier pull may have been torn by a power cut,
    /// and a mirror's may be others: if they turn out to be wrong, the blob is fetched once more
    /// from its first byte.
    async fn fetch_and_unpack(&self, origin: &Repository) -> Result<Unpacked, LayerError> {
        let (size, cap) = (self.plan.size, self.inner.config.layer_bytes);
        if size > cap {
            return Err(LayerError::TooLarge { size, cap });
        }
        loop {
            let (content, digest) = (self.inner.content.clone(), self.plan.digest.clone());
            let ingest = blocking(move || content.ingest(&digest, Expected::Exactly(size))).await?;
            let resumed = ingest.resumed() > 0;
            match self.transfer(origin, ingest).await {
                Ok(unpacked) => return Ok(unpacked),
                Err(Refused::ByMirrors) => {}
                Err(Refused::ForGood(error)) if resumed && error.blames_content() => {
                    let digest = &self.plan.digest;
                    tracing::info!(%digest, %error, "resumed blob was damaged and is fetched anew");
                }
                Err(Refused::ForGood(error)) => return Err(error),
            }
        }
    }

    /// Lets bytes flow from the registry through the ingest into the unpack.
    async fn transfer(&self, origin: &Repository, ingest: Ingest) -> Result<Unpacked, Refused> {
        let start = ingest.offset();
        self.note(LayerPhase::Fetching, start);
        let mut stream = origin.blob(&self.plan.digest, Some(self.plan.size), start);
        let (feed, tee) = feed(ingest).map_err(|error| Refused::ForGood(error.into()))?;
        let (inner, plan) = (Arc::clone(&self.inner), self.plan.clone());
        let worker = tokio::task::spawn_blocking(move || unpack_and_keep(&inner, &plan, tee));
        let phases = &self.inner.phases;
        let fetched = phases.time(Phase::PullFetch, self.fetch(&mut stream, feed));
        let unpacked = phases.time(Phase::PullUnpack, finished(worker));
        let (fetched, unpacked) = tokio::join!(fetched, unpacked);
        let failed = match (fetched, unpacked) {
            (Fetched::Whole | Fetched::HungUp, Ok(unpacked)) => return Ok(unpacked),
            (Fetched::Whole | Fetched::HungUp, Err(failed)) => *failed,
            (fetched, unpacked) => Failed {
                error: match fetched {
                    Fetched::Failed(error) => error.into(),
                    _ => LayerError::Cancelled,
                },
                ingest: match unpacked {
                    Err(failed) => failed.ingest,
                    // The fetch failed behind the last byte: whole, but nobody wants it now.
                    Ok(unpacked) => {
                        blocking(move || drop(unpacked)).await;
                        None
                    }
                },
            },
        };
        Err(self.refuse(failed, &stream, start).await)
    }

    /// Discards bytes that are wrong, and says whether others may have the right ones.
    async fn refuse(&self, failed: Failed, stream: &BlobStream, start: u64) -> Refused {
        let Failed { error, ingest } = failed;
        if !error.blames_content() {
            return Refused::ForGood(error);
        }
        // Where the digest is right, nobody has anything better.
        let is_the_blob = ingest
            .as_ref()
            .is_some_and(|ingest| ingest.actual() == self.plan.digest);
        if let Some(ingest) = ingest
            && let Err(error) = blocking(move || ingest.discard()).await
        {
            return Refused::ForGood(error.into());
        }
        // Of what an earlier pull has left nobody knows who gave it.
        match start == 0 && !is_the_blob && stream.disbelieve(&error) {
            true => Refused::ByMirrors,
            false => Refused::ForGood(error),
        }
    }

    async fn fetch(&self, stream: &mut BlobStream, feed: Feed) -> Fetched {
        loop {
            let chunk = tokio::select! {
                biased;
                () = self.cancelled.cancelled() => return Fetched::Cancelled,
                chunk = stream.next() => chunk,
            };
            match chunk {
                Ok(Some(chunk)) => {
                    if !feed.send(chunk).await {
                        return Fetched::HungUp;
                    }
                    self.note(LayerPhase::Fetching, stream.offset());
                }
                Ok(None) => {
                    self.note(LayerPhase::Unpacking, self.plan.size);
                    return if feed.end().await {
                        Fetched::Whole
                    } else {
                        Fetched::HungUp
                    };
                }
                Err(error) => return Fetched::Failed(error),
            }
        }
    }
}

impl Obtained {
    /// Puts the layer in its place, on layers that are in theirs; blocking.
    pub(super) fn commit(self, inner: &Inner, plan: &LayerPlan) -> Result<(), LayerError> {
        if let Some(unpacked) = self.unpacked {
            inner
                .snapshots
                .commit(unpacked, &plan.chain, plan.parent.as_ref())?;
        }
        Ok(())
    }
}

fn open_stored(content: &ContentStore, digest: &Digest) -> Result<Option<File>, LayerError> {
    match content.contains(digest)? {
        Some(_) => Ok(Some(content.open_blob(digest)?)),
        None => Ok(None),
    }
}

fn check_diff_id(plan: &LayerPlan, unpacked: &Unpacked) -> Result<(), LayerError> {
    if *unpacked.diff_id() == plan.diff_id {
        return Ok(());
    }
    Err(LayerError::DiffId {
        expected: plan.diff_id.clone(),
        actual: unpacked.diff_id().clone(),
    })
}

/// Unpacks what is fed, checks both digests and keeps the blob.
fn unpack_and_keep(inner: &Inner, plan: &LayerPlan, mut tee: Tee) -> Result<Unpacked, Box<Failed>> {
    let unpacked = inner
        .snapshots
        .unpack(&mut tee, Some(plan.compression), &inner.config.unpack)
        .map_err(LayerError::from)
        .and_then(|unpacked| check_diff_id(plan, &unpacked).map(|()| unpacked));
    // The rest is fetched after a refusal too: the digest of the whole tells whether the blob is
    // hostile or just corrupt.
    let drained = match &unpacked {
        Err(error) if !error.blames_content() || tee.missing() > DIAGNOSIS => {
            Err(io::ErrorKind::Interrupted.into())
        }
        _ => tee.drain(),
    };
    let (ingest, fault) = tee.finish();
    let failed = |error: LayerError, ingest| {
        let ingest = Some(ingest);
        Err(Box::new(Failed { error, ingest }))
    };
    if let Some(fault) = fault {
        return failed(fault.into(), ingest);
    }
    match (unpacked, drained) {
        (Ok(unpacked), Ok(())) => match ingest.commit() {
            Ok(_) => Ok(unpacked),
            Err(error) => Err(Box::new(Failed {
                error: error.into(),
                ingest: None,
            })),
        },
        (Ok(_), Err(source)) => failed(UnpackError::Read { source }.into(), ingest),
        (Err(_), Ok(())) if ingest.actual() != plan.digest => {
            let corrupt = CommitError::Corrupt {
                digest: plan.digest.clone(),
                actual: ingest.actual(),
                resumed: ingest.resumed(),
            };
            failed(corrupt.into(), ingest)
        }
        (Err(error), _) => failed(error, ingest),
    }
}

/// A reader that fails once its pull is cancelled.
struct Interruptible<R> {
    reader: R,
    cancelled: CancellationToken,
}

impl<R: Read> Read for Interruptible<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.is_cancelled() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.reader.read(buffer)
    }
}
