//! The snapshot directory of a node: what is in it, and looking things up.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_types::SnapshotKey;

use crate::chain::ChainId;
use crate::delete::{Trash, Usage};
use crate::error::{LookupError, SweepError, SyncError, UsageError};
use crate::points::{self, Points};
use crate::record::LayerRecord;
use crate::writable::RootAttributes;

/// All layers and writable layers of this node. Cheap to clone; every clone is the same.
#[derive(Debug, Clone)]
pub struct Snapshots {
    pub(crate) inner: Arc<Inner>,
}

/// The lower directory of a snapshot that stands on nothing: the overlay wants at least one.
pub(crate) const EMPTY_LAYER: &str = "l/0";

#[derive(Debug)]
pub(crate) struct Inner {
    pub base: PathBuf,
    pub boot_id: String,
    pub umask: u32,
    pub layers: OwnedFd,
    pub records: OwnedFd,
    pub writable: OwnedFd,
    pub staging: OwnedFd,
    pub points: OwnedFd,
    pub trash: Trash,
    pub next: AtomicU64,
    /// Makes names below `staging` unlike those of any other run.
    pub salt: String,
    pub state: Mutex<State>,
}

/// What is there, as last recorded. Never locked across a call into the kernel.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub layers: HashMap<ChainId, Layer>,
    pub writable: HashMap<SnapshotKey, Option<ChainId>>,
}

#[derive(Debug)]
pub(crate) struct Layer {
    pub record: LayerRecord,
    /// The attributes of its root, once somebody asked.
    pub root: Option<Arc<RootAttributes>>,
    /// The mount points that lie on top of it.
    pub points: Points,
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a number that no directory had or will have.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn records(&self) -> BorrowedFd<'_> {
        self.records.as_fd()
    }
}

impl State {
    /// Returns the layers from `top` down to the lowest that shows.
    pub(crate) fn stack(&self, top: &ChainId) -> Result<Vec<&Layer>, LookupError> {
        let mut stack = Vec::new();
        let mut next = Some(top);
        while let Some(chain) = next {
            let layer = self.layers.get(chain).ok_or_else(|| LookupError::Layer {
                chain: chain.clone(),
            })?;
            stack.push(layer);
            next = layer
                .record
                .parent
                .as_ref()
                .filter(|_| !layer.record.opaque);
        }
        Ok(stack)
    }

    /// Returns the directory of mount points that lies on top of a stack, if there is one.
    pub(crate) fn points(&self, top: Option<&ChainId>) -> Option<String> {
        let layer = self.layers.get(top?)?;
        (layer.points == Points::Made).then(|| points::lower(layer.record.number))
    }

    pub(crate) fn lower(&self, top: Option<&ChainId>) -> Result<Vec<String>, LookupError> {
        let Some(top) = top else {
            return Ok(vec![EMPTY_LAYER.to_owned()]);
        };
        let stack = self.stack(top)?;
        Ok(stack.iter().map(|layer| layer.record.lower()).collect())
    }
}

impl Snapshots {
    /// Returns the directory that all names of layers are relative to.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.inner.base
    }

    /// Says whether the layer is there.
    #[must_use]
    pub fn contains(&self, chain: &ChainId) -> bool {
        self.inner.state().layers.contains_key(chain)
    }

    /// Returns what is known about a layer.
    #[must_use]
    pub fn layer(&self, chain: &ChainId) -> Option<LayerRecord> {
        let state = self.inner.state();
        state.layers.get(chain).map(|layer| layer.record.clone())
    }

    /// Returns what is known about all layers.
    #[must_use]
    pub fn layer_records(&self) -> Vec<LayerRecord> {
        let state = self.inner.state();
        state
            .layers
            .values()
            .map(|layer| layer.record.clone())
            .collect()
    }

    /// Returns the directories of a stack's layers, topmost first.
    ///
    /// # Errors
    /// A layer of the stack is not there.
    pub fn layers(&self, top: &ChainId) -> Result<Vec<String>, LookupError> {
        self.inner.state().lower(Some(top))
    }

    /// Returns the directories of a stack's layers, topmost first; never none: nothing is an empty
    /// directory.
    ///
    /// # Errors
    /// A layer of the stack is not there.
    pub fn lower(&self, top: Option<&ChainId>) -> Result<Vec<String>, LookupError> {
        self.inner.state().lower(top)
    }

    /// Returns all writable layers and what they stand on.
    #[must_use]
    pub fn containers(&self) -> Vec<(SnapshotKey, Option<ChainId>)> {
        let state = self.inner.state();
        state
            .writable
            .iter()
            .map(|(key, top)| (key.clone(), top.clone()))
            .collect()
    }

    /// Returns the size of a layer as recorded, without a look at its files.
    ///
    /// # Errors
    /// The layer is not there.
    pub fn layer_usage(&self, chain: &ChainId) -> Result<Usage, UsageError> {
        let record = self.layer(chain).ok_or_else(|| UsageError::NotFound {
            source: LookupError::Layer {
                chain: chain.clone(),
            },
        })?;
        Ok(Usage {
            bytes: record.size,
            inodes: record.inodes,
            complete: true,
        })
    }

    /// Writes everything to the disk, then records as clean what was committed before. Takes long.
    /// Returns the number of layers that became clean.
    ///
    /// # Errors
    /// The sync failed, or a record could not be written; later calls try again.
    pub fn sync(&self) -> Result<usize, SyncError> {
        let unclean = |record: &LayerRecord| !record.clean;
        let pending: Vec<_> = self.layer_records().into_iter().filter(unclean).collect();
        if pending.is_empty() {
            return Ok(0);
        }
        rustix::fs::syncfs(&self.inner.layers).map_err(|errno| SyncError::Sync {
            source: errno.into(),
        })?;
        let mut cleaned = 0;
        for mut record in pending {
            record.clean = true;
            let failed = |source| SyncError::Record {
                chain: record.chain.clone(),
                source,
            };
            record.save(self.inner.records()).map_err(failed)?;
            let mut state = self.inner.state();
            match state.layers.get_mut(&record.chain) {
                Some(layer) if layer.record.number == record.number => {
                    layer.record.clean = true;
                    cleaned += 1;
                }
                _ => {
                    drop(state);
                    // Removed meanwhile; the record must not come back.
                    record.remove(self.inner.records()).map_err(failed)?;
                }
            }
        }
        Ok(cleaned)
    }

    /// Deletes what removals left behind. Takes long. Returns the number of inodes deleted.
    ///
    /// # Errors
    /// Something could not be deleted; the rest is.
    pub fn sweep(&self) -> Result<u64, SweepError> {
        self.inner
            .trash
            .sweep()
            .map_err(|source| SweepError { source })
    }
}
