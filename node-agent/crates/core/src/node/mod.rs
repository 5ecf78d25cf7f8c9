//! The node: every verb on sandboxes, containers and processes, by name or id.
//!
//! Owns: the index of who is there. Does not: know gRPC, or hold any state of a sandbox; that is
//! its task's. Start reading at [`Node`].

mod containers;
pub(crate) mod index;
mod local;
mod names;
mod network;
pub(crate) mod pod_ranges;
mod sandboxes;
mod stats;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use agent_types::ImageId;

use self::index::Index;
use crate::image::Images;
use crate::sandbox::state::SandboxPhase;
use crate::services::{Services, blocking};
use crate::ticket::Tickets;

pub use containers::{Attaching, Seen};
pub use local::{LocalError, LocalSpec};
pub use network::NetworkCondition;
pub use pod_ranges::PodRangesError;
pub use stats::StatsError;
pub use streams::ForwardError;

/// How often, and how long apart, an agent that ends tries to remove its cgroups.
const LEAVE_ATTEMPTS: u32 = 10;
const LEAVE_PAUSE: Duration = Duration::from_millis(20);

/// Every verb of the node.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) services: Arc<Services>,
    pub(crate) index: Arc<Index>,
    pub(crate) tickets: Arc<Tickets>,
}

impl Node {
    /// Returns a node that knows nobody yet; [`crate::recovery::recover`] tells it.
    #[must_use]
    pub fn new(services: Arc<Services>) -> Self {
        Self {
            services,
            index: Arc::new(Index::default()),
            tickets: Arc::default(),
        }
    }

    /// Returns the mechanisms the node works with.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Returns the images of the node.
    #[must_use]
    pub fn images(&self) -> &Images {
        &self.services.images
    }

    /// Returns whether no sandbox stands, is being made or is being ended.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.index
            .sandboxes(None)
            .iter()
            .all(|handle| handle.view().phase == SandboxPhase::NotReady)
    }

    /// Lets the network go that waits for the next sandbox, and has none made any more. For an agent
    /// that ends.
    pub async fn end_ahead(&self) {
        self.services.ahead.close(&self.services.network).await;
    }

    /// Gives back what an idle node holds of the machine for sandboxes to come: the launcher, and
    /// the node's own cgroups where nothing lives in them. For an agent that ends.
    pub async fn leave(&self) {
        self.services.launcher.end().await;
        for _ in 0..LEAVE_ATTEMPTS {
            let cgroups = self.services.cgroups.clone();
            if !matches!(blocking(move || cgroups.remove_parent()).await, Ok(false)) {
                return;
            }
            // What the launcher had forked ahead ends a moment after it.
            tokio::time::sleep(LEAVE_PAUSE).await;
        }
    }

    /// Returns whether a container, of whatever owner, was made from an image or has it mounted.
    #[must_use]
    pub fn image_in_use(&self, image: &ImageId) -> bool {
        self.index.sandboxes(None).iter().any(|handle| {
            handle
                .view()
                .containers
                .iter()
                .any(|container| container.record.uses(image))
        })
    }
}
