//! The records of images and of the network's changes, kept in the store.

use std::sync::Arc;

use agent_core::image::{ImageRecord, ImageRecords, RecordsError};
use agent_network::{HostChanges, Ledger, LedgerError};
use agent_store::{Durability, LoadError, Record, Store};
use agent_types::ImageId;
use serde::{Deserialize, Serialize};

/// An image's record as a row.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct ImageRow(ImageRecord);

impl Record for ImageRow {
    const TABLE: &'static str = "images";
    const VERSION: u32 = ImageRecord::VERSION;
}

/// Keeps image records; they survive a power cut.
#[derive(Debug)]
pub(crate) struct StoredImages(pub(crate) Arc<Store>);

impl ImageRecords for StoredImages {
    fn load_all(&self) -> Result<Vec<ImageRecord>, RecordsError> {
        let loaded = self
            .0
            .load_all::<ImageRow>()
            .map_err(|error| RecordsError::new("loaded", error))?;
        for (_, key) in &loaded.unreadable {
            tracing::error!(image = key, "image record is damaged or of a newer version");
        }
        Ok(loaded.records.into_iter().map(|(_, row)| row.0).collect())
    }

    fn save(&self, record: &ImageRecord) -> Result<(), RecordsError> {
        let key = record.id.to_string();
        self.0
            .save_blocking(Durability::Synced, &key, &ImageRow(record.clone()))
            .map_err(|error| RecordsError::new("saved", error))
    }

    fn remove(&self, id: &ImageId) -> Result<(), RecordsError> {
        self.0
            .remove_blocking::<ImageRow>(Durability::Synced, &id.to_string())
            .map_err(|error| RecordsError::new("removed", error))
    }
}

/// The network's changes as a row.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct NetworkRow(HostChanges);

impl Record for NetworkRow {
    const TABLE: &'static str = "network";
    const VERSION: u32 = 1;
}

/// Key of the only row.
const BUILT_IN: &str = "built-in";

/// Keeps the network's changes, before they are made.
#[derive(Debug)]
pub(crate) struct NetworkLedger(pub(crate) Arc<Store>);

impl NetworkLedger {
    /// Returns the changes of the run before.
    pub(crate) fn load(&self) -> Result<HostChanges, LoadError> {
        let loaded = self.0.load_all::<NetworkRow>()?;
        let row = loaded.records.into_iter().find(|(key, _)| key == BUILT_IN);
        Ok(row.map(|(_, row)| row.0).unwrap_or_default())
    }
}

impl Ledger for NetworkLedger {
    fn record(&self, changes: &HostChanges) -> Result<(), LedgerError> {
        let row = NetworkRow(changes.clone());
        Ok(self.0.save_blocking(Durability::Unsynced, BUILT_IN, &row)?)
    }
}
