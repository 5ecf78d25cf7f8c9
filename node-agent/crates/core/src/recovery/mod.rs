//! Start-up: from records, shims and the boot id back to a node that serves.
//!
//! Owns: the order of recovery. Does not: decide what a state means; `classify` does, purely.
//!
//! 1. Network plugins that an agent before has left running are ended. Records are read. When the boot id changed, every process, namespace and link is gone.
//! 2. Each sandbox's shim is asked what became of its containers, all side by side.
//! 3. The network is told which attachments hold; what nobody owns is removed from it.
//! 4. Each sandbox gets its task. What was half made is undone, what was lost is ended in the books.

mod classify;
mod records;
mod strays;
mod take_up;

use std::sync::Arc;

use agent_types::{Classify, ErrorKind};
use futures_util::StreamExt;
use futures_util::stream;

use self::take_up::{Found, look, take_up};
use crate::node::Node;
use crate::services::{Interrupted, Services};

pub use strays::{StraysRemoved, remove_strays};

/// Removes strays and says what was done.
pub(crate) async fn strays_pass(services: &Arc<Services>) {
    if let Ok(removed) = remove_strays(Arc::clone(services)).await
        && removed != StraysRemoved::default()
    {
        tracing::info!(
            cgroups = removed.cgroups,
            layers = removed.layers,
            directories = removed.directories,
            namespaces = removed.namespaces,
            "strays removed"
        );
    }
}

/// Shims asked at once.
const AT_ONCE: usize = 32;

/// Why the node could not take up its work.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A table could not be read.
    #[error(transparent)]
    Load(#[from] agent_store::LoadError),
    /// The boot id was not written.
    #[error("boot id was not saved")]
    Save(#[from] agent_store::SaveError),
    /// The network could not be brought in line with the records.
    #[error("network could not be recovered")]
    Network(#[from] agent_network::RecoverError),
    /// The agent is going down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for RecoverError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Load(source) => source.kind(),
            Self::Save(source) => source.kind(),
            Self::Network(source) => source.kind(),
            Self::Interrupted(source) => source.kind(),
        }
    }
}

/// What was found at start-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Sandboxes that stand.
    pub running: usize,
    /// Sandboxes that do not.
    pub resting: usize,
    /// Sandboxes that were half made, and are undone.
    pub undone: usize,
    /// The machine was booted since the last run.
    pub rebooted: bool,
}

/// Takes up the work of the run before; until then the node knows nobody.
///
/// # Errors
/// When records or the network cannot be read at all. Single sandboxes never stop it.
pub async fn recover(node: &Node, boot_id: String) -> Result<Recovered, RecoverError> {
    let services = &node.services;
    let ended = services.cni.end_strays().await;
    if ended > 0 {
        tracing::warn!(
            processes = ended,
            "network plugins of the agent before ended"
        );
    }
    let (known, rebooted) = records::load(services, boot_id).await?;
    let mut recovered = Recovered {
        rebooted,
        ..Recovered::default()
    };
    let found: Vec<Found> = stream::iter(known)
        .map(|known| look(services, known, rebooted))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let attachments: Vec<_> = found
        .iter()
        .filter(|found| found.shim.is_some())
        .filter_map(|found| found.known.state.as_ref()?.attachment.clone())
        .collect();
    services.network.recover(&attachments).await?;
    for found in found {
        take_up(node, found, rebooted, &mut recovered).await;
    }
    Ok(recovered)
}
