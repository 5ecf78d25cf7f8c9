//! Remove: names first, then the image, never what a container stands on.

use agent_types::{ImageId, Reference};

use super::catalog::Meant;
use super::error::RemoveError;
use super::record::ImageRecord;
use super::{Images, Inner};

/// Whose rules a removal follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveMode {
    /// All names go. A used image stays, without names, until its last container is gone; an
    /// unknown one is no error.
    Cri,
    /// A name goes, and the image with its last one. Refused while the image is used, and by id
    /// while it has names in several repositories.
    Docker,
    /// As [`Self::Docker`], and by id every name goes; a used image only loses its names.
    DockerForce,
}

/// What a removal has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that no longer mean the image, in full.
    pub untagged: Vec<String>,
    /// Images that are gone.
    pub deleted: Vec<ImageId>,
}

/// Says whether any container, of whatever owner, was made from an image.
pub(super) type InUse<'a> = &'a (dyn Fn(&ImageId) -> bool + Send + Sync);

/// What is going to happen to an image.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// These names go, others stay.
    Untag(Vec<Reference>),
    /// All names go, and the image if nobody uses it.
    Delete,
}

impl Images {
    /// Removes the image or the name that `text` means.
    pub async fn remove(
        &self,
        text: &str,
        mode: RemoveMode,
        in_use: InUse<'_>,
    ) -> Result<Removed, RemoveError> {
        let changes = self.inner.changes.lock().await;
        let found = {
            let catalog = self.inner.catalog();
            catalog
                .resolve(text)
                .map(|(record, meant)| ((**record).clone(), meant))
        };
        let (record, meant) = match found {
            Ok(found) => found,
            Err(_) if mode == RemoveMode::Cri => return Ok(Removed::default()),
            Err(error) => return Err(error.into()),
        };
        let used = self.inner.is_used(&record.id, in_use);
        let blobs: Vec<_> = record.blobs().cloned().collect();
        let removed = match decide(&record, &meant, mode, used)? {
            Decision::Untag(names) => self.untag(record, &names).await?,
            Decision::Delete => self.delete(record, mode, in_use).await?,
        };
        drop(changes);
        if !removed.deleted.is_empty() {
            self.discard(blobs).await;
        }
        Ok(removed)
    }

    async fn untag(
        &self,
        mut record: ImageRecord,
        names: &[Reference],
    ) -> Result<Removed, RemoveError> {
        record.references.retain(|name| !names.contains(name));
        record.digests.retain(|name| !names.contains(name));
        let id = record.id.clone();
        let saved = Inner::save(&self.inner, vec![record]).await;
        saved.map_err(|source| RemoveError::Save { id, source })?;
        Ok(Removed {
            untagged: names.iter().map(ToString::to_string).collect(),
            deleted: Vec::new(),
        })
    }

    async fn delete(
        &self,
        mut record: ImageRecord,
        mode: RemoveMode,
        in_use: InUse<'_>,
    ) -> Result<Removed, RemoveError> {
        let id = record.id.clone();
        let failed = |source| RemoveError::Save {
            id: id.clone(),
            source,
        };
        let names = record.references.iter().chain(&record.digests);
        let untagged = names.map(ToString::to_string).collect();
        let forgotten = self.inner.forget(&id, in_use).await;
        let deleted = match forgotten.map_err(failed)? {
            true => vec![id],
            // A container has come between the decision and this.
            false if mode == RemoveMode::Docker => return Err(RemoveError::InUse { id }),
            false => {
                record.remove_while_used();
                Inner::save(&self.inner, vec![record])
                    .await
                    .map_err(failed)?;
                Vec::new()
            }
        };
        Ok(Removed { untagged, deleted })
    }
}

/// Decides what a removal does, without doing it.
fn decide(
    record: &ImageRecord,
    meant: &Meant,
    mode: RemoveMode,
    used: bool,
) -> Result<Decision, RemoveError> {
    let id = || record.id.clone();
    let decision = match meant {
        _ if mode == RemoveMode::Cri => return Ok(Decision::Delete),
        Meant::Name(name) => without_name(record, name),
        Meant::Id => {
            let mut repositories: Vec<_> = record.references.iter().map(Reference::name).collect();
            repositories.dedup();
            if repositories.len() > 1 && mode == RemoveMode::Docker {
                return Err(RemoveError::SeveralNames { id: id() });
            }
            Decision::Delete
        }
    };
    match decision {
        Decision::Delete if used && mode == RemoveMode::Docker => {
            Err(RemoveError::InUse { id: id() })
        }
        decision => Ok(decision),
    }
}

/// Takes a name away; with the last tag of a repository go the digests in it.
fn without_name(record: &ImageRecord, name: &Reference) -> Decision {
    let mut gone = vec![name.clone()];
    let mut left: Vec<_> = record
        .references
        .iter()
        .filter(|other| *other != name)
        .collect();
    let tagged_there = left.iter().any(|other| other.name() == name.name());
    if name.digest().is_none() && !tagged_there {
        let there = record
            .digests
            .iter()
            .filter(|digest| digest.name() == name.name());
        gone.extend(there.cloned());
    }
    left.extend(
        record
            .digests
            .iter()
            .filter(|digest| !gone.contains(digest)),
    );
    match left.is_empty() {
        true => Decision::Delete,
        false => Decision::Untag(gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ImageConfig, Pin};
    use crate::time::Timestamp;
    use agent_types::{Digest, Platform};

    fn record(names: &[&str]) -> ImageRecord {
        let mut record = ImageRecord {
            version: ImageRecord::VERSION,
            id: ImageId(Digest::sha256(&[1; 32])),
            manifest: Digest::sha256(&[2; 32]),
            index: None,
            references: Vec::new(),
            digests: Vec::new(),
            platform: Platform::host(),
            config: ImageConfig::default(),
            layers: Vec::new(),
            pinned: Pin::None,
            removed: false,
            created_at: None,
            pulled_at: Timestamp::default(),
        };
        for name in names {
            record.add_name(&name.parse().unwrap());
        }
        record
    }

    fn by_name(
        record: &ImageRecord,
        name: &str,
        mode: RemoveMode,
        used: bool,
    ) -> Result<Decision, RemoveError> {
        decide(record, &Meant::Name(name.parse().unwrap()), mode, used)
    }

    #[test]
    fn the_last_name_takes_the_image_with_it() {
        let digest = format!("a@{}", Digest::sha256(&[9; 32]));
        let two = record(&["a:1", "a:2", &digest]);
        let untag = by_name(&two, "a:1", RemoveMode::Docker, true).unwrap();
        assert_eq!(untag, Decision::Untag(vec!["a:1".parse().unwrap()]));
        let one = record(&["a:1", &digest]);
        assert_eq!(
            by_name(&one, "a:1", RemoveMode::Docker, false).unwrap(),
            Decision::Delete
        );
        let elsewhere = record(&["a:1", "b:1", &digest]);
        let Decision::Untag(gone) = by_name(&elsewhere, "a:1", RemoveMode::Docker, false).unwrap()
        else {
            panic!("b:1 is left");
        };
        assert_eq!(
            gone.len(),
            2,
            "the digest in repository a goes with its last tag"
        );
    }

    #[test]
    fn a_used_image_is_not_deleted_unless_forced_or_by_cri() {
        let one = record(&["a:1"]);
        assert!(matches!(
            by_name(&one, "a:1", RemoveMode::Docker, true),
            Err(RemoveError::InUse { .. })
        ));
        for mode in [RemoveMode::DockerForce, RemoveMode::Cri] {
            assert_eq!(by_name(&one, "a:1", mode, true).unwrap(), Decision::Delete);
        }
    }

    #[test]
    fn by_id_several_repositories_need_force() {
        let several = record(&["a:1", "b:1"]);
        assert!(matches!(
            decide(&several, &Meant::Id, RemoveMode::Docker, false),
            Err(RemoveError::SeveralNames { .. })
        ));
        for mode in [RemoveMode::DockerForce, RemoveMode::Cri] {
            assert_eq!(
                decide(&several, &Meant::Id, mode, false).unwrap(),
                Decision::Delete
            );
        }
        let same = record(&["a:1", "a:2"]);
        assert_eq!(
            decide(&same, &Meant::Id, RemoveMode::Docker, false).unwrap(),
            Decision::Delete
        );
    }
}
