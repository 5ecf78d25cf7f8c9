//! Who is there: sandboxes and containers by id, sandboxes by name. No lock is held across I/O.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use agent_types::{ContainerId, Owner, SandboxId};

use crate::sandbox::actor::SandboxHandle;
use crate::sandbox::spec::{SandboxMetadata, SandboxRecord};

/// What must be unique among an owner's sandboxes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    owner: Owner,
    metadata: SandboxMetadata,
}

impl Name {
    fn of(record: &SandboxRecord) -> Self {
        Self {
            owner: record.spec.owner,
            metadata: record.spec.metadata.clone(),
        }
    }
}

#[derive(Debug, Default)]
struct Entries {
    sandboxes: BTreeMap<SandboxId, SandboxHandle>,
    containers: BTreeMap<ContainerId, SandboxId>,
    names: HashMap<Name, SandboxId>,
}

/// How a text that names something was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found<T> {
    /// It names this.
    One(T),
    /// It names nothing.
    None,
    /// It begins more than one id.
    Many,
}

/// The sandboxes and containers of the node.
#[derive(Debug, Default)]
pub(crate) struct Index(RwLock<Entries>);

impl Index {
    // A panic elsewhere leaves the maps whole: each change is one insertion or removal.
    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a sandbox, unless its name is taken: then returns who has it.
    pub(crate) fn add_sandbox(
        &self,
        record: &SandboxRecord,
        make: impl FnOnce() -> SandboxHandle,
    ) -> Result<SandboxHandle, SandboxHandle> {
        let mut entries = self.write();
        let name = Name::of(record);
        let holder = entries
            .names
            .get(&name)
            .and_then(|id| entries.sandboxes.get(id));
        if let Some(holder) = holder {
            return Err(holder.clone());
        }
        let handle = make();
        entries.names.insert(name, record.id.clone());
        entries.sandboxes.insert(record.id.clone(), handle.clone());
        Ok(handle)
    }

    pub(crate) fn forget_sandbox(&self, record: &SandboxRecord) {
        let mut entries = self.write();
        entries.sandboxes.remove(&record.id);
        let name = Name::of(record);
        if entries.names.get(&name) == Some(&record.id) {
            entries.names.remove(&name);
        }
    }

    pub(crate) fn add_container(&self, id: &ContainerId, sandbox: &SandboxId) {
        self.write().containers.insert(id.clone(), sandbox.clone());
    }

    pub(crate) fn remove_container(&self, id: &ContainerId) {
        self.write().containers.remove(id);
    }

    /// Returns an owner's sandboxes, ordered by id.
    pub(crate) fn sandboxes(&self, owner: Option<Owner>) -> Vec<SandboxHandle> {
        self.read()
            .sandboxes
            .values()
            .filter(|handle| owner.is_none_or(|owner| handle.record.spec.owner == owner))
            .cloned()
            .collect()
    }

    /// Finds an owner's sandbox by id or unique prefix of one.
    pub(crate) fn sandbox(&self, owner: Owner, text: &str) -> Found<SandboxHandle> {
        let Ok(start) = text.parse::<SandboxId>() else {
            return Found::None;
        };
        let entries = self.read();
        let matching = entries
            .sandboxes
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(|(id, _)| id.as_str().starts_with(text))
            .filter(|(_, handle)| handle.record.spec.owner == owner)
            .map(|(id, handle)| (id.as_str() == text, handle.clone()));
        one_of(matching)
    }

    /// Finds an owner's container by id or unique prefix of one.
    pub(crate) fn container(
        &self,
        owner: Owner,
        text: &str,
    ) -> Found<(ContainerId, SandboxHandle)> {
        let Ok(start) = text.parse::<ContainerId>() else {
            return Found::None;
        };
        let entries = self.read();
        let matching = entries
            .containers
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(|(id, _)| id.as_str().starts_with(text))
            .filter_map(|(id, sandbox)| {
                let handle = entries.sandboxes.get(sandbox)?;
                (handle.record.spec.owner == owner)
                    .then(|| (id.as_str() == text, (id.clone(), handle.clone())))
            });
        one_of(matching)
    }

    /// Finds a person's sandbox by the name of its container.
    pub(crate) fn local_by_name(&self, name: &str) -> Option<SandboxHandle> {
        let entries = self.read();
        let name = Name {
            owner: Owner::Local,
            metadata: SandboxMetadata {
                name: name.to_owned(),
                ..SandboxMetadata::default()
            },
        };
        let id = entries.names.get(&name)?;
        entries.sandboxes.get(id).cloned()
    }
}

/// Picks the exact match, or the only one.
fn one_of<T>(matching: impl Iterator<Item = (bool, T)>) -> Found<T> {
    let mut found = Found::None;
    for (exact, item) in matching {
        if exact {
            return Found::One(item);
        }
        found = match found {
            Found::None => Found::One(item),
            Found::One(_) | Found::Many => Found::Many,
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_match_wins_over_longer_ones() {
        assert_eq!(one_of([(true, 1), (false, 2)].into_iter()), Found::One(1));
        assert_eq!(one_of([(false, 1), (false, 2)].into_iter()), Found::Many);
        assert_eq!(one_of([(false, 1)].into_iter()), Found::One(1));
        assert_eq!(one_of(std::iter::empty::<(bool, i32)>()), Found::None);
    }
}
