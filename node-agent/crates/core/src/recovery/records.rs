//! Reading the records of the run before.

use std::collections::HashMap;
use std::sync::Arc;

use agent_store::{Durability, Loaded, Record};
use agent_types::{ContainerId, Owner, SandboxId};
use serde::{Deserialize, Serialize};

use super::RecoverError;
use crate::container::spec::{ContainerRecord, ContainerStateRecord};
use crate::container::state::ContainerState;
use crate::node::pod_ranges;
use crate::sandbox::spec::{SandboxRecord, SandboxStateRecord};
use crate::services::{Services, blocking};

/// The boot this node last ran in.
#[derive(Debug, Serialize, Deserialize)]
struct BootRecord {
    boot_id: String,
}

impl Record for BootRecord {
    const TABLE: &'static str = "boot";
    const VERSION: u32 = 1;
}

/// A container of the records. Without a state its creation was cut short.
pub(super) struct KnownContainer {
    pub(super) record: Arc<ContainerRecord>,
    pub(super) state: Option<ContainerStateRecord>,
}

/// A sandbox of the records.
pub(super) struct Known {
    pub(super) record: Arc<SandboxRecord>,
    pub(super) state: Option<SandboxStateRecord>,
    pub(super) containers: Vec<KnownContainer>,
}

/// Reads everything, and says whether the machine was booted since.
pub(super) async fn load(
    services: &Arc<Services>,
    boot_id: String,
) -> Result<(Vec<Known>, bool), RecoverError> {
    let services = Arc::clone(services);
    blocking(move || {
        let mut known = read(&services)?;
        pod_ranges::load(&services)?;
        let before = services.store.load_all::<BootRecord>()?;
        let rebooted = before
            .records
            .first()
            .is_none_or(|(_, record)| record.boot_id != boot_id);
        if rebooted {
            known.iter_mut().for_each(keep_a_persons);
        }
        services
            .store
            .save_blocking(Durability::Unsynced, "boot", &BootRecord { boot_id })?;
        Ok((known, rebooted))
    })
    .await?
}

/// States are not synced: after a power cut a person's container may have none, and is whole.
fn keep_a_persons(known: &mut Known) {
    if known.record.spec.owner == Owner::Local {
        for container in &mut known.containers {
            container.state.get_or_insert(ContainerStateRecord {
                state: ContainerState::Created,
                user: None,
                restarts: 0,
            });
        }
    }
}

fn read(services: &Services) -> Result<Vec<Known>, RecoverError> {
    let store = &services.store;
    let sandboxes = report(store.load_all::<SandboxRecord>()?);
    let mut states: HashMap<String, SandboxStateRecord> =
        report(store.load_all()?).into_iter().collect();
    let mut container_states: HashMap<String, ContainerStateRecord> =
        report(store.load_all()?).into_iter().collect();
    let mut containers: HashMap<SandboxId, Vec<KnownContainer>> = HashMap::new();
    for (key, record) in report(store.load_all::<ContainerRecord>()?) {
        let known = KnownContainer {
            state: container_states.remove(&key),
            record: Arc::new(record),
        };
        containers
            .entry(known.record.sandbox.clone())
            .or_default()
            .push(known);
    }
    let known = sandboxes
        .into_iter()
        .map(|(key, record)| {
            let mut containers = containers.remove(&record.id).unwrap_or_default();
            containers.sort_by_key(|container| container.record.created_at);
            Known {
                state: states.remove(&key),
                record: Arc::new(record),
                containers,
            }
        })
        .collect();
    for orphan in containers.into_values().flatten() {
        remove_orphan(services, &orphan.record.id);
    }
    Ok(known)
}

/// A container without its sandbox: the sandbox's removal was cut short after it.
fn remove_orphan(services: &Services, id: &ContainerId) {
    tracing::warn!(container_id = %id, "record of a container without a sandbox removed");
    for durability in [Durability::Synced, Durability::Unsynced] {
        if let Err(error) = services
            .store
            .remove_blocking::<ContainerRecord>(durability, id.as_str())
        {
            tracing::warn!(container_id = %id, error = %agent_telemetry::chain(&error), "record not removed");
        }
    }
}

/// Logs what could not be read, and returns the rest.
fn report<T: Record>(loaded: Loaded<T>) -> Vec<(String, T)> {
    for (_, key) in &loaded.unreadable {
        tracing::error!(
            table = T::TABLE,
            key,
            "record is damaged or of a newer version"
        );
    }
    loaded.records
}
