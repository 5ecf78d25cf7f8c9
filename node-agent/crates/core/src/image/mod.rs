//! Images: pulled, named, listed, removed.
//!
//! Joins three mechanisms that do not know each other: `registry` fetches, `content` keeps blobs,
//! `snapshot` unpacks layers. Owns: which images this node has, under which names, and the
//! pulls in flight. Does not: know wire formats of any API, containers, or where records lie.
//!
//! ```text
//! reference -> manifest -> config -> layers, several at once:
//!     registry --chunks--> [ hash + ingest -> inflate -> hash + unpack ] -> commit in order
//! ```
//!
//! Everything in a manifest, index or config is an attacker's word; see `config` and `plan`.
//! What a pull has made is leased until its record is saved, so that garbage collection leaves
//! it alone. Whole blobs of a pull that was cut off are kept a day for the next one; those of an
//! image that is refused, and layers that no image has, go with the next collection.
//!
//! Start reading at [`Images`], then `pull`, `work` and `layer`.

mod blob;
mod catalog;
pub mod config;
mod created;
mod ensure;
mod error;
mod feed;
mod flight;
mod gc;
mod keyed;
mod layer;
mod list;
mod pinned;
mod plan;
mod progress;
mod pull;
mod record;
mod records;
mod remove;
mod stack;
mod status;
mod sync;
mod tag;
mod work;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use agent_content::ContentStore;
use agent_registry::Client;
use agent_snapshot::{ChainId, Snapshots};
use agent_types::Digest;
use tokio::sync::Semaphore;

pub use catalog::ResolveError;
pub use config::{ConfigError, ImageConfig};
pub use error::{
    CollectError, EnsureError, FsUsageError, LayerError, OpenImagesError, PullError, PullFailure,
    RemoveError, SaveError, TagError,
};
pub use gc::Collected;
pub use list::{FsUsage, ImageFileSystem};
pub use pinned::pinned_name;
pub use progress::{LayerPhase, LayerProgress, PullEvent, PullEvents, PullStatus};
pub use pull::{Pull, PullDone, PullOutcome, PullSpec, Pulled};
pub use record::{ImageRecord, LayerRecord, Pin};
pub use records::{ImageRecords, RecordsError};
pub use remove::{RemoveMode, Removed};
pub use status::HeldImage;

use catalog::Catalog;
use flight::Flights;
use keyed::{Keyed, Leases};

/// What the images of a node may take and ask for.
#[derive(Debug, Clone)]
pub struct ImagesConfig {
    /// Layers fetched and unpacked at once, over all pulls.
    pub layers_at_once: usize,
    /// Bytes accepted in an image's config.
    pub config_bytes: u64,
    /// Bytes accepted in one compressed layer.
    pub layer_bytes: u64,
    /// Caps on what a layer unpacks to.
    pub unpack: agent_snapshot::Limits,
    /// Images that a kubelet is told never to collect.
    pub pinned: Vec<crate::pattern::Pattern>,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        Self {
            layers_at_once: 3,
            config_bytes: 8 << 20,
            layer_bytes: 64 << 30,
            unpack: agent_snapshot::Limits::default(),
            pinned: Vec::new(),
        }
    }
}

/// The images of this node; a cheap handle, every clone is the same.
#[derive(Debug, Clone)]
pub struct Images {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    phases: crate::metrics::Phases,
    config: ImagesConfig,
    content: ContentStore,
    snapshots: Snapshots,
    client: Client,
    records: Box<dyn ImageRecords>,
    catalog: RwLock<Catalog>,
    /// One change of records at a time, so that they reach the store in the order they were made.
    changes: tokio::sync::Mutex<()>,
    flights: Arc<Flights>,
    /// Held while a layer is made or removed.
    chains: Keyed<ChainId>,
    /// Held while a blob is fetched or removed.
    blobs: Keyed<Digest>,
    leases: Leases,
    slots: Semaphore,
    /// Whether a sync is going to start; then nobody else needs to ask for one.
    sync_asked: AtomicBool,
    /// Held during a sync, so that whoever waits for one waits for all that have begun.
    syncing: Mutex<()>,
}

impl Images {
    /// Opens the images that the records name. Blocking; called once, before serving.
    ///
    /// An image whose layers can neither be found unpacked nor unpacked again is forgotten, so
    /// that whoever needs it pulls it again.
    pub fn open(
        config: ImagesConfig,
        content: ContentStore,
        snapshots: Snapshots,
        client: Client,
        records: Box<dyn ImageRecords>,
        phases: crate::metrics::Phases,
    ) -> Result<Self, OpenImagesError> {
        let mut catalog = Catalog::default();
        for record in records.load_all()? {
            let is_there = |layer: &LayerRecord| {
                snapshots.contains(&layer.chain_id) || content.is_present(&layer.digest)
            };
            if record.removed || record.layers.iter().all(is_there) {
                catalog.put(Arc::new(record));
            } else {
                tracing::warn!(image = %record.id, "image with lost layers forgotten");
                records.remove(&record.id)?;
            }
        }
        let slots = Semaphore::new(config.layers_at_once.max(1));
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                phases,
                content,
                snapshots,
                client,
                records,
                catalog: RwLock::new(catalog),
                changes: tokio::sync::Mutex::new(()),
                flights: Arc::default(),
                chains: Keyed::default(),
                blobs: Keyed::default(),
                leases: Leases::default(),
                slots,
                sync_asked: AtomicBool::new(false),
                syncing: Mutex::new(()),
            }),
        })
    }
}

impl Inner {
    fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalog_mut(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves records and only then shows them. The caller holds `changes`.
    async fn save(self: &Arc<Self>, changed: Vec<ImageRecord>) -> Result<(), RecordsError> {
        let inner = Arc::clone(self);
        sync::blocking(move || {
            for record in changed {
                inner.records.save(&record)?;
                inner.catalog_mut().put(Arc::new(record));
            }
            Ok(())
        })
        .await
    }
}
