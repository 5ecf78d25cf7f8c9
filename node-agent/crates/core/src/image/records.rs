//! Where image records are kept: implemented by whoever owns the store.

use agent_types::{Classify, ErrorKind, ImageId};

use super::record::ImageRecord;

/// Keeps image records. Called from threads that may block.
pub trait ImageRecords: Send + Sync + std::fmt::Debug {
    /// Returns every record; one that cannot be read is the store's to report and to leave out.
    fn load_all(&self) -> Result<Vec<ImageRecord>, RecordsError>;

    /// Keeps a record under its id, in place of an older one; it survives a power cut.
    fn save(&self, record: &ImageRecord) -> Result<(), RecordsError>;

    /// Forgets a record; it is no error if there is none.
    fn remove(&self, id: &ImageId) -> Result<(), RecordsError>;
}

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
#[error("image records could not be {what}")]
pub struct RecordsError {
    what: &'static str,
    kind: ErrorKind,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl RecordsError {
    /// Wraps the store's own error; `what` is a participle such as "saved".
    pub fn new(what: &'static str, source: impl Classify + Send + Sync + 'static) -> Self {
        Self {
            what,
            kind: source.kind(),
            source: Box::new(source),
        }
    }
}

impl Classify for RecordsError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}
