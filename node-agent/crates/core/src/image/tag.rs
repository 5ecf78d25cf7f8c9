//! Tag: a further name for an image.

use std::sync::Arc;

use agent_types::Reference;

use super::error::TagError;
use super::record::{ImageRecord, Pin};
use super::{Images, Inner};

impl Images {
    /// Names the image that `source` means `target`, which another image loses if it has it.
    /// Whoever names an image wants it kept.
    pub async fn tag(&self, source: &str, target: Reference) -> Result<Arc<ImageRecord>, TagError> {
        if target.digest().is_some() {
            return Err(TagError::Digest { target });
        }
        let _changes = self.inner.changes.lock().await;
        let mut changed = Vec::new();
        let id = {
            let catalog = self.inner.catalog();
            let (found, _) = catalog.resolve(source).map_err(|source| TagError::Source {
                target: target.clone(),
                source,
            })?;
            let mut record = (**found).clone();
            record.add_name(&target);
            record.pinned = Pin::Local;
            changed.extend(catalog.without_names(std::slice::from_ref(&target), &record.id));
            let id = record.id.clone();
            changed.push(record);
            id
        };
        let saved = Inner::save(&self.inner, changed).await;
        saved.map_err(|source| TagError::Save {
            target: target.clone(),
            source,
        })?;
        self.get(&id).ok_or_else(|| TagError::Source {
            source: super::ResolveError::NotFound {
                text: id.to_string(),
            },
            target,
        })
    }
}
