//! Which images there are, and which of them a person means.

use std::collections::HashMap;
use std::sync::Arc;

use agent_types::{Classify, Digest, ErrorKind, ImageId, Platform, Reference};

use super::record::ImageRecord;

/// Why no image is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Neither a name nor an id of an image here.
    #[error("no such image: {text}")]
    NotFound {
        /// What was asked for, cut to 200 characters.
        text: String,
    },
    /// The beginning of several ids.
    #[error("image id {text} is ambiguous: it begins {count} ids")]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// How many images it could mean.
        count: usize,
    },
}

impl Classify for ResolveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. } => ErrorKind::InvalidArgument,
        }
    }
}

/// How an image was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    /// By this one of its names.
    Name(Reference),
    /// By its id or the beginning of it.
    Id,
}

/// The images of this node, by id and by name.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    records: HashMap<ImageId, Arc<ImageRecord>>,
    names: HashMap<Reference, ImageId>,
}

impl Catalog {
    /// Adds a record or replaces the one with its id. A name that another image has goes to the
    /// one that was pulled last.
    pub(super) fn put(&mut self, record: Arc<ImageRecord>) {
        self.forget_names(&record.id);
        for name in record.references.iter().chain(&record.digests) {
            let newer = self
                .names
                .get(name)
                .and_then(|id| self.records.get(id))
                .is_some_and(|other| other.pulled_at > record.pulled_at);
            if !newer {
                self.names.insert(name.clone(), record.id.clone());
            }
        }
        self.records.insert(record.id.clone(), record);
    }

    pub(super) fn remove(&mut self, id: &ImageId) {
        self.forget_names(id);
        self.records.remove(id);
    }

    fn forget_names(&mut self, id: &ImageId) {
        if let Some(old) = self.records.get(id) {
            for name in old.references.iter().chain(&old.digests) {
                if self.names.get(name) == Some(id) {
                    self.names.remove(name);
                }
            }
        }
    }

    pub(super) fn get(&self, id: &ImageId) -> Option<&Arc<ImageRecord>> {
        self.records.get(id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<ImageRecord>> {
        self.records.values()
    }

    /// Returns the image that a registry's name leads to, if it is for a platform that fits.
    pub(super) fn by_digest(
        &self,
        name: &Reference,
        platform: &Platform,
    ) -> Option<&Arc<ImageRecord>> {
        let record = self.records.get(self.names.get(name)?)?;
        platform.fit(&record.platform).map(|_| record)
    }

    /// Returns the images other than `id` that lose a name of `names`, without them.
    pub(super) fn without_names(&self, names: &[Reference], id: &ImageId) -> Vec<ImageRecord> {
        let has_one = |record: &&Arc<ImageRecord>| {
            let mut own = record.references.iter().chain(&record.digests);
            record.id != *id && own.any(|name| names.contains(name))
        };
        let without = |record: &Arc<ImageRecord>| {
            let mut record = (**record).clone();
            record.references.retain(|name| !names.contains(name));
            record.digests.retain(|name| !names.contains(name));
            record
        };
        self.records.values().filter(has_one).map(without).collect()
    }

    /// Finds what a person means: a name, an id, the beginning of an id, or a manifest's digest.
    pub(super) fn resolve(&self, text: &str) -> Result<(&Arc<ImageRecord>, Meant), ResolveError> {
        let not_found = || ResolveError::NotFound {
            text: text.chars().take(200).collect(),
        };
        if let Some(record) = text
            .parse()
            .ok()
            .and_then(|digest| self.by_whole_digest(&digest))
        {
            return Ok((record, Meant::Id));
        }
        if let Ok(reference) = text.parse::<Reference>() {
            // With a digest the tag says nothing more.
            let name = match reference.digest() {
                Some(digest) => reference.with_digest(digest.clone()),
                None => reference,
            };
            if let Some(record) = self.names.get(&name).and_then(|id| self.records.get(id)) {
                return Ok((record, Meant::Name(name)));
            }
        }
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if prefix.is_empty() || !prefix.bytes().all(is_hex) {
            return Err(not_found());
        }
        let mut found = self
            .visible()
            .filter(|record| record.id.0.hex().starts_with(prefix));
        match (found.next(), found.count()) {
            (Some(record), 0) => Ok((record, Meant::Id)),
            (Some(_), more) => Err(ResolveError::Ambiguous {
                text: prefix.to_owned(),
                count: more + 1,
            }),
            (None, _) => Err(not_found()),
        }
    }

    /// Lists the images that have not been removed.
    pub(super) fn visible(&self) -> impl Iterator<Item = &Arc<ImageRecord>> {
        self.records.values().filter(|record| !record.removed)
    }

    fn by_whole_digest(&self, digest: &Digest) -> Option<&Arc<ImageRecord>> {
        let names_it = |record: &&Arc<ImageRecord>| {
            record.id.0 == *digest
                || record.manifest == *digest
                || record.index.as_ref() == Some(digest)
        };
        self.visible().find(names_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ImageConfig, Pin};
    use crate::time::Timestamp;

    fn record(number: u8, names: &[&str]) -> Arc<ImageRecord> {
        let mut record = ImageRecord {
            version: ImageRecord::VERSION,
            id: ImageId(Digest::sha256(&[number; 32])),
            manifest: Digest::sha256(&[number, 1].repeat(16).try_into().unwrap()),
            index: None,
            references: Vec::new(),
            digests: Vec::new(),
            platform: Platform::new("linux", "amd64", ""),
            config: ImageConfig::default(),
            layers: Vec::new(),
            pinned: Pin::None,
            removed: false,
            created_at: None,
            pulled_at: Timestamp(i64::from(number)),
        };
        for name in names {
            record.add_name(&name.parse().unwrap());
        }
        Arc::new(record)
    }

    fn catalog() -> Catalog {
        let digest = Digest::sha256(&[0xcc; 32]);
        let mut catalog = Catalog::default();
        catalog.put(record(
            0xa1,
            &["alpine:3", "alpine", &format!("alpine@{digest}")],
        ));
        catalog.put(record(0xa2, &["r.io/b/c:x"]));
        catalog
    }

    fn number(catalog: &Catalog, text: &str) -> Option<u8> {
        let (record, _) = catalog.resolve(text).ok()?;
        u8::try_from(record.pulled_at.nanos()).ok()
    }

    #[test]
    fn names_ids_and_prefixes_are_understood() {
        let catalog = catalog();
        let id = Digest::sha256(&[0xa1; 32]);
        let pinned = format!("alpine@{}", Digest::sha256(&[0xcc; 32]));
        for text in [
            "alpine",
            "docker.io/library/alpine:3",
            id.as_str(),
            id.hex(),
            "a1",
            "a1a1a1",
            "sha256:a1a1",
            &pinned,
            &pinned.replace('@', ":whatever@"),
        ] {
            assert_eq!(number(&catalog, text), Some(0xa1), "{text}");
        }
        let manifest = Digest::sha256(&[0xa2, 1].repeat(16).try_into().unwrap());
        assert_eq!(number(&catalog, manifest.as_str()), Some(0xa2));
        for text in [
            "alpine:4",
            "b/c:x",
            "ff",
            "",
            "../x",
            &format!("busybox@{}", Digest::sha256(&[0xcc; 32])),
        ] {
            assert_eq!(number(&catalog, text), None, "{text}");
        }
        assert!(matches!(
            catalog.resolve("a"),
            Err(ResolveError::Ambiguous { count: 2, .. })
        ));
    }

    #[test]
    fn a_name_belongs_to_the_image_pulled_last() {
        let mut catalog = catalog();
        catalog.put(record(0xb1, &["alpine"]));
        assert_eq!(number(&catalog, "alpine"), Some(0xb1));
        assert_eq!(number(&catalog, "alpine:3"), Some(0xa1));
        catalog.put(record(0x01, &["alpine"]));
        assert_eq!(
            number(&catalog, "alpine"),
            Some(0xb1),
            "load order does not matter"
        );
        catalog.remove(&ImageId(Digest::sha256(&[0xb1; 32])));
        assert_eq!(number(&catalog, "alpine"), None);
    }

    #[test]
    fn a_removed_image_is_found_by_its_id_only_for_those_who_hold_it() {
        let mut catalog = Catalog::default();
        let mut removed = (*record(0xa1, &[])).clone();
        removed.removed = true;
        let id = removed.id.clone();
        catalog.put(Arc::new(removed));
        assert!(catalog.get(&id).is_some());
        assert!(catalog.resolve(id.0.as_str()).is_err());
        assert_eq!(catalog.visible().count(), 0);
    }
}
