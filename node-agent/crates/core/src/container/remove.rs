//! Removing what a container left: writable layer, cgroup, records, logs.

use std::sync::Arc;

use agent_store::Durability;
use agent_types::{Owner, SnapshotKey};

use super::error::{RemoveError, RemoveStepError};
use super::spec::{ContainerRecord, ContainerStateRecord};
use crate::sandbox::Live;
use crate::sandbox::create::durability;
use crate::sandbox::spec::SandboxRecord;
use crate::sandbox::stop::remove_container_cgroup;
use crate::services::{Services, blocking};
use crate::shim;

/// Removes an ended container, or one that was never started; may be repeated.
///
/// The record goes last: until then another try finds what is left.
pub(crate) async fn clean(
    services: &Arc<Services>,
    sandbox: &SandboxRecord,
    record: &Arc<ContainerRecord>,
    live: Option<&Live>,
) -> Result<(), RemoveError> {
    if let Some(live) = live
        && let Err(error) = live.shim.delete_container(&record.id).await
        && !shim::is_over(&error)
    {
        tracing::warn!(container_id = %record.id, error = %error, "container not deleted by its shim");
    }
    let step = |source| RemoveError::Step {
        id: record.id.clone(),
        source,
    };
    let logs = (sandbox.spec.owner == Owner::Local).then(|| services.paths().logs(&sandbox.id));
    let work = {
        let (services, record) = (Arc::clone(services), Arc::clone(record));
        move || -> Result<(), RemoveStepError> {
            remove_container_cgroup(&services.cgroups, &record.cgroup)?;
            services.snapshots.remove(&SnapshotKey::from(&record.id))?;
            if let Some(path) = logs {
                match std::fs::remove_dir_all(&path) {
                    Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                        return Err(RemoveStepError::Logs { path, source });
                    }
                    _ => {}
                }
            }
            Ok(())
        }
    };
    blocking(work).await?.map_err(&step)?;
    let key = record.id.as_str();
    let (state, facts) = tokio::join!(
        services
            .store
            .remove::<ContainerStateRecord>(Durability::Unsynced, key),
        services
            .store
            .remove::<ContainerRecord>(durability(sandbox.spec.owner), key),
    );
    services.litter.notify_one();
    state.and(facts).map_err(|error| step(error.into()))
}
