//! Committing an unpacked layer, and removing a committed one.

use std::io;
use std::os::fd::AsFd;

use agent_sys::rootdir::RootDir;

use crate::archive::EntryName;
use crate::chain::ChainId;
use crate::complete::{Incomplete, complete};
use crate::error::{CommitError, LookupError, RemoveError};
use crate::merged::Stack;
use crate::points::{self, Points};
use crate::record::{LayerFacts, LayerRecord};
use crate::snapshots::{Layer, Snapshots};
use crate::unpack::Unpacked;

impl Snapshots {
    /// Gives an unpacked layer its place on top of `parent`, which must be committed already. If
    /// the layer is there by now, that one is returned and this one dropped. Nothing is synced
    /// here: see [`Snapshots::sync`].
    ///
    /// # Errors
    /// The chain id is another layer's, a layer below is missing, or the file system said no;
    /// nothing is left then.
    pub fn commit(
        &self,
        unpacked: Unpacked,
        chain: &ChainId,
        parent: Option<&ChainId>,
    ) -> Result<LayerRecord, CommitError> {
        if let Some(record) = self.layer(chain) {
            return Ok(record);
        }
        if ChainId::new(parent, unpacked.diff_id()) != *chain {
            return Err(CommitError::Chain {
                chain: chain.clone(),
                diff_id: unpacked.diff_id().clone(),
            });
        }
        self.complete(&unpacked, chain, parent)?;
        self.place(unpacked, chain, parent)
    }

    /// Completes the layer from those below.
    fn complete(
        &self,
        unpacked: &Unpacked,
        chain: &ChainId,
        parent: Option<&ChainId>,
    ) -> Result<(), CommitError> {
        let opaque = unpacked.applied.opaque;
        let lower = match parent {
            Some(parent) => self.layers(parent).map_err(|source| CommitError::Parent {
                chain: chain.clone(),
                source,
            })?,
            None => Vec::new(),
        };
        let lower = if opaque { Vec::new() } else { lower };
        let failed = |path: &[u8], source| CommitError::Complete {
            chain: chain.clone(),
            path: EntryName::new(path),
            source,
        };
        let base = self.base();
        let roots = lower.iter().map(|name| RootDir::open(&base.join(name)));
        let roots: io::Result<Vec<_>> = roots.collect();
        let roots = roots.map_err(|error| failed(b"/", error))?;
        let layer = unpacked
            .staged
            .root()
            .map_err(|error| failed(b"/", error))?;
        let mut stack = Stack::new(&layer, &roots).map_err(|error| failed(b"/", error))?;
        complete(&layer, &unpacked.applied, &mut stack).map_err(|error| match error {
            Incomplete::Io(path, source) => failed(&path, source),
            Incomplete::Target(path, target) => CommitError::LinkTarget {
                chain: chain.clone(),
                path: EntryName::new(&path),
                target: EntryName::new(&target),
            },
        })
    }

    /// Moves the layer to its place, then records it: a directory without a record is swept.
    fn place(
        &self,
        mut unpacked: Unpacked,
        chain: &ChainId,
        parent: Option<&ChainId>,
    ) -> Result<LayerRecord, CommitError> {
        let failed = |source| CommitError::Place {
            chain: chain.clone(),
            source,
        };
        let facts = LayerFacts {
            number: unpacked.staged.number,
            chain: chain.clone(),
            parent: parent.cloned(),
            diff_id: unpacked.diff_id().clone(),
            size: unpacked.size(),
            inodes: unpacked.inodes(),
            opaque: unpacked.applied.opaque,
        };
        let record = LayerRecord::new(facts, &self.inner.boot_id);
        unpacked.staged.place().map_err(failed)?;
        let saved = record.save(self.inner.records());
        let settled = saved.map_err(failed).and_then(|()| self.settle(&record));
        match settled {
            Ok(None) => Ok(record),
            Ok(Some(other)) => {
                self.discard(&record).map_err(failed)?;
                Ok(other)
            }
            Err(error) => {
                // What failed first is what the caller needs; the next start sweeps the rest.
                if let Err(error) = self.discard(&record) {
                    tracing::warn!(chain = %chain, error = %error, "layer was not discarded");
                }
                Err(error)
            }
        }
    }

    /// Makes the layer known; returns the one that was faster, if any.
    fn settle(&self, record: &LayerRecord) -> Result<Option<LayerRecord>, CommitError> {
        let mut state = self.inner.state();
        if let Some(other) = state.layers.get(&record.chain) {
            return Ok(Some(other.record.clone()));
        }
        let gone = |parent: &&ChainId| !state.layers.contains_key(*parent);
        if let Some(parent) = record.parent.as_ref().filter(gone) {
            return Err(CommitError::Parent {
                chain: record.chain.clone(),
                source: LookupError::Layer {
                    chain: parent.clone(),
                },
            });
        }
        let layer = Layer {
            record: record.clone(),
            root: None,
            points: Points::Unknown,
        };
        state.layers.insert(record.chain.clone(), layer);
        Ok(None)
    }

    /// Takes a layer's record, mount points and directory away, in this order: a record without its
    /// directory would be a layer that is not there.
    pub(crate) fn discard(&self, record: &LayerRecord) -> io::Result<()> {
        record.remove(self.inner.records())?;
        points::discard(&self.inner, record.number)?;
        let name = record.number.to_string();
        let layers = self.inner.layers.as_fd();
        self.inner.trash.take(layers, name.as_bytes()).map(drop)
    }

    /// Removes a layer that nothing stands on; its files go with the next [`Snapshots::sweep`]. An
    /// unknown layer is no error.
    ///
    /// # Errors
    /// A layer or a writable layer stands on it, or the file system said no.
    pub fn remove_layer(&self, chain: &ChainId) -> Result<(), RemoveError> {
        let record = {
            let mut state = self.inner.state();
            let above = |layer: &&Layer| layer.record.parent.as_ref() == Some(chain);
            if let Some(child) = state.layers.values().find(above) {
                return Err(RemoveError::HasChild {
                    chain: chain.clone(),
                    child: child.record.chain.clone(),
                });
            }
            let uses = state
                .writable
                .iter()
                .find(|(_, top)| top.as_ref() == Some(chain));
            if let Some((key, _)) = uses {
                return Err(RemoveError::HasSnapshot {
                    chain: chain.clone(),
                    key: key.clone(),
                });
            }
            state.layers.remove(chain)
        };
        let Some(layer) = record else {
            return Ok(());
        };
        self.discard(&layer.record)
            .map_err(|source| RemoveError::Layer {
                chain: chain.clone(),
                source,
            })
    }
}
