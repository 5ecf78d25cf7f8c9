//! Changing what a pod as a whole may use.

use std::sync::Arc;

use agent_cgroup::Limits;
use agent_types::{Classify, ErrorKind, SandboxId};

use super::error::EndError;
use super::view::SandboxView;
use crate::services::{Interrupted, Services, blocking};

/// Why a pod's limits could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The sandbox was not found.
    #[error(transparent)]
    Find {
        /// Why.
        source: EndError,
    },
    /// It has no cgroup any more, or not yet.
    #[error("sandbox {id} is not ready")]
    NotReady {
        /// The sandbox.
        id: SandboxId,
    },
    /// A limit cannot hold.
    #[error("limits of sandbox {id} are not valid")]
    Limit {
        /// The sandbox.
        id: SandboxId,
        /// Which.
        source: agent_cgroup::LimitError,
    },
    /// The kernel refused; the limits are as they were.
    #[error("limits of sandbox {id} were not changed")]
    Write {
        /// The sandbox.
        id: SandboxId,
        /// Why.
        source: agent_cgroup::UpdateError,
    },
    /// The agent is going down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for UpdateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Find { source } => source.kind(),
            Self::NotReady { .. } => ErrorKind::FailedPrecondition,
            Self::Limit { source, .. } => source.kind(),
            Self::Write { source, .. } => source.kind(),
            Self::Interrupted(source) => source.kind(),
        }
    }
}

/// Writes limits to a pod's cgroup, all or none, where the cgroup is the node's own. A kubelet
/// limits the one it made before it says so here, and by other sums than these: it is left alone.
pub(crate) async fn apply(
    services: &Services,
    view: &SandboxView,
    limits: Limits,
) -> Result<(), UpdateError> {
    let id = view.record.id.clone();
    let tree = services.cgroups.clone();
    let checked = tree.validate(&limits, 0);
    checked.map_err(|source| UpdateError::Limit {
        id: id.clone(),
        source,
    })?;
    let Some(live) = view.live.as_ref().map(Arc::clone) else {
        return Err(UpdateError::NotReady { id });
    };
    if !tree.is_ours(&live.cgroup) {
        return Ok(());
    }
    blocking(move || tree.update_pod(&live.cgroup, &limits))
        .await?
        .map_err(|source| UpdateError::Write { id, source })
}
