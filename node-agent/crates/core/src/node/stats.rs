//! What a container uses, read when asked.

use agent_cgroup::Stats;
use agent_snapshot::Usage;
use agent_types::{Classify, ContainerId, ErrorKind, Owner, SnapshotKey};

use super::Node;
use super::containers::Seen;
use crate::container::StopError;
use crate::container::state::ContainerState;
use crate::services::{Interrupted, blocking};
use crate::time::Timestamp;

/// What a container uses.
#[derive(Debug, Clone)]
pub struct ContainerStats {
    /// The container.
    pub seen: Seen,
    /// Of its cgroup; `None` when it does not run.
    pub cgroup: Option<Stats>,
    /// Of its writable layer; `None` when that could not be read.
    pub layer: Option<Usage>,
    /// When the layer was measured.
    pub measured_at: Timestamp,
}

/// Why a container's use could not be told.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// The container was not found.
    #[error(transparent)]
    Find {
        /// Why.
        source: StopError,
    },
    /// Its cgroup could not be read.
    #[error("cgroup of container {id} could not be read")]
    Cgroup {
        /// The container.
        id: ContainerId,
        /// Why.
        source: agent_cgroup::CgroupError,
    },
    /// The agent is going down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for StatsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Find { source } => source.kind(),
            Self::Cgroup { source, .. } => source.kind(),
            Self::Interrupted(source) => source.kind(),
        }
    }
}

impl Node {
    /// Returns what one container uses.
    ///
    /// # Errors
    /// [`StatsError::Find`] when there is none of that id.
    pub async fn container_stats(
        &self,
        owner: Owner,
        id: &str,
    ) -> Result<ContainerStats, StatsError> {
        let seen = self
            .container(owner, id)
            .map_err(|source| StatsError::Find { source })?;
        let services = std::sync::Arc::clone(&self.services);
        blocking(move || measure(&services, seen)).await?
    }

    /// Returns how many bytes each of the containers has written to its own layer; `None` where
    /// that could not be read.
    ///
    /// # Errors
    /// Only when the agent is going down.
    pub async fn layers_of(&self, all: Vec<Seen>) -> Result<Vec<Option<u64>>, StatsError> {
        let services = std::sync::Arc::clone(&self.services);
        let measured = blocking(move || {
            let layer = |seen: &Seen| {
                let key = SnapshotKey::from(&seen.container.record.id);
                let usage = services.snapshots.usage(&key);
                usage.ok().map(|usage| usage.bytes)
            };
            all.iter().map(layer).collect()
        });
        Ok(measured.await?)
    }

    /// Returns what each of the containers uses; those that end meanwhile are left out.
    ///
    /// # Errors
    /// Only when the agent is going down.
    pub async fn stats_of(&self, all: Vec<Seen>) -> Result<Vec<ContainerStats>, StatsError> {
        let services = std::sync::Arc::clone(&self.services);
        let measured = blocking(move || {
            all.into_iter()
                .filter_map(|seen| measure(&services, seen).ok())
                .collect()
        });
        Ok(measured.await?)
    }
}

fn measure(services: &crate::services::Services, seen: Seen) -> Result<ContainerStats, StatsError> {
    let record = &seen.container.record;
    let running = matches!(seen.container.state, ContainerState::Running { .. });
    let failed = |source| StatsError::Cgroup {
        id: record.id.clone(),
        source,
    };
    let cgroup = if running {
        services
            .cgroups
            .open_cgroup(&record.cgroup)
            .map_err(failed)?
            .map(|cgroup| cgroup.stats())
            .transpose()
            .map_err(failed)?
    } else {
        None
    };
    let layer = services
        .snapshots
        .usage(&SnapshotKey::from(&record.id))
        .ok();
    Ok(ContainerStats {
        cgroup,
        layer,
        measured_at: Timestamp::now(),
        seen,
    })
}
