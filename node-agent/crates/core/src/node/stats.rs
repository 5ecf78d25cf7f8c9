//! What sandboxes and containers use, from the sampler.

use std::sync::Arc;

use agent_types::{Classify, ContainerId, ErrorKind, Owner, SandboxId, SnapshotKey};

use super::Node;
use super::containers::Seen;
use crate::container::StopError;
use crate::sandbox::error::EndError;
use crate::sandbox::view::SandboxView;
use crate::services::{Interrupted, blocking};
use crate::stats::{ContainerStats, Metrics, SandboxStats, Uncounted, detail, read};

/// Why a use could not be told.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// The container was not found.
    #[error(transparent)]
    Find {
        /// Why.
        source: StopError,
    },
    /// The sandbox was not found.
    #[error(transparent)]
    FindSandbox {
        /// Why.
        source: EndError,
    },
    /// A container's cgroup could not be read.
    #[error("cgroup of container {id} could not be read")]
    Container {
        /// The container.
        id: ContainerId,
        /// Why.
        source: agent_cgroup::CgroupError,
    },
    /// A sandbox's cgroup could not be read.
    #[error("cgroup of sandbox {id} could not be read")]
    Sandbox {
        /// The sandbox.
        id: SandboxId,
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
            Self::FindSandbox { source } => source.kind(),
            Self::Container { source, .. } | Self::Sandbox { source, .. } => source.kind(),
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
        let seen = self.container(owner, id);
        let seen = seen.map_err(|source| StatsError::Find { source })?;
        self.services.sampler.note_reader();
        if let Some(known) = read::known_container(&self.services, &seen.container) {
            return Ok(known);
        }
        let services = Arc::clone(&self.services);
        let container = seen.container;
        let id = container.record.id.clone();
        blocking(move || read::container(&services, &container, Uncounted::Count))
            .await?
            .map_err(|source| StatsError::Container { id, source })
    }

    /// Returns what each of the containers uses that run; those that end meanwhile are left out.
    ///
    /// # Errors
    /// Only when the agent is going down.
    pub async fn stats_of(&self, mut all: Vec<Seen>) -> Result<Vec<ContainerStats>, StatsError> {
        let services = &self.services;
        services.sampler.note_reader();
        all.retain(|seen| read::is_running(&seen.container));
        let known = |seen: &Seen| read::known_container(services, &seen.container);
        if let Some(known) = all.iter().map(known).collect() {
            return Ok(known);
        }
        let services = Arc::clone(services);
        let measured = blocking(move || {
            let measure =
                |seen: &Seen| read::container(&services, &seen.container, Uncounted::CountYoung);
            all.iter().filter_map(|seen| measure(seen).ok()).collect()
        });
        Ok(measured.await?)
    }

    /// Returns what one sandbox uses.
    ///
    /// # Errors
    /// [`StatsError::FindSandbox`] when there is none of that id.
    pub async fn sandbox_stats(&self, owner: Owner, id: &str) -> Result<SandboxStats, StatsError> {
        let view = self.sandbox(owner, id);
        let view = view.map_err(|source| StatsError::FindSandbox { source })?;
        self.services.sampler.note_reader();
        if let Some(known) = read::known_sandbox(&self.services, &view) {
            return Ok(known);
        }
        let services = Arc::clone(&self.services);
        let id = view.record.id.clone();
        blocking(move || read::sandbox(&services, &view, Uncounted::Count))
            .await?
            .map_err(|source| StatsError::Sandbox { id, source })
    }

    /// Returns what each of the sandboxes uses that stand; those that end meanwhile are left out.
    ///
    /// # Errors
    /// Only when the agent is going down.
    pub async fn stats_of_sandboxes(
        &self,
        mut all: Vec<Arc<SandboxView>>,
    ) -> Result<Vec<SandboxStats>, StatsError> {
        let services = &self.services;
        services.sampler.note_reader();
        all.retain(|view| view.live.is_some());
        let known = |view: &Arc<SandboxView>| read::known_sandbox(services, view);
        if let Some(known) = all.iter().map(known).collect() {
            return Ok(known);
        }
        let services = Arc::clone(services);
        let measured = blocking(move || {
            let measure =
                |view: &Arc<SandboxView>| read::sandbox(&services, view, Uncounted::CountYoung);
            all.iter().filter_map(|view| measure(view).ok()).collect()
        });
        Ok(measured.await?)
    }

    /// Returns what metrics of an owner's sandboxes are made of.
    ///
    /// # Errors
    /// Only when the agent is going down.
    pub async fn metrics(&self, owner: Owner) -> Result<Metrics, StatsError> {
        let sandboxes = self.stats_of_sandboxes(self.sandboxes(owner)).await?;
        let services = Arc::clone(&self.services);
        Ok(blocking(move || detail::metrics(&services, sandboxes)).await?)
    }

    /// Returns how many bytes each of the containers has written to its own layer, counted now;
    /// `None` where that could not be done.
    ///
    /// # Errors
    /// Only when the agent is going down.
    pub async fn layers_of(&self, all: Vec<Seen>) -> Result<Vec<Option<u64>>, StatsError> {
        let services = Arc::clone(&self.services);
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
}
