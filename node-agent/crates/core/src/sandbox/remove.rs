//! Forgetting a sandbox: its directory and records, the record of its facts last.

use agent_store::Durability;

use super::create::durability;
use super::error::TeardownError;
use super::spec::{SandboxRecord, SandboxStateRecord};
use crate::services::{Services, blocking};

/// Removes what is left of a sandbox that is down; may be repeated.
pub(crate) async fn forget(
    services: &Services,
    record: &SandboxRecord,
) -> Result<(), TeardownError> {
    let path = services.paths().sandbox(&record.id);
    blocking(move || match std::fs::remove_dir_all(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(TeardownError::File { path, source })
        }
        _ => Ok(()),
    })
    .await??;
    let key = record.id.as_str();
    let (state, facts) = tokio::join!(
        services
            .store
            .remove::<SandboxStateRecord>(Durability::Unsynced, key),
        services
            .store
            .remove::<SandboxRecord>(durability(record.spec.owner), key),
    );
    state.and(facts).map_err(|source| TeardownError::Save {
        id: record.id.clone(),
        source,
    })
}
