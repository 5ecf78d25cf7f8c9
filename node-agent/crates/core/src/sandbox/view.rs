//! What everybody may see of a sandbox, without asking its task.

use std::net::IpAddr;
use std::sync::Arc;

use agent_types::ContainerId;

use super::create::Live;
use super::network;
use super::spec::SandboxRecord;
use super::state::SandboxPhase;
use crate::container::spec::{ContainerRecord, ContainerUser};
use crate::container::state::ContainerState;
use crate::exec::Template;

/// A sandbox as it was at some moment.
#[derive(Debug, Clone)]
pub struct SandboxView {
    /// Its facts.
    pub record: Arc<SandboxRecord>,
    /// Where it is in its life.
    pub phase: SandboxPhase,
    /// What it stands on, where it stands.
    pub live: Option<Arc<Live>>,
    /// Its containers, the oldest first.
    pub containers: Vec<ContainerView>,
    /// Its addresses, where `live` was left out of a copy.
    pub(crate) kept_addresses: Vec<IpAddr>,
}

impl SandboxView {
    /// Returns a container of it.
    #[must_use]
    pub fn container(&self, id: &ContainerId) -> Option<&ContainerView> {
        self.containers
            .iter()
            .find(|container| container.record.id == *id)
    }

    /// Returns its addresses: IPv4 first, or in the order of the plugins that gave them; none
    /// where it has no network of its own.
    #[must_use]
    pub fn ips(&self) -> Vec<IpAddr> {
        match &self.live {
            Some(live) => network::addresses(live.attachment.as_ref(), live.cni.as_deref()),
            None => self.kept_addresses.clone(),
        }
    }

    /// Leaves out what holds on to the sandbox: whoever keeps the result keeps no namespace.
    #[must_use]
    pub(crate) fn detached(mut self) -> Self {
        self.kept_addresses = self.ips();
        self.live = None;
        for container in &mut self.containers {
            container.template = None;
        }
        self
    }
}

/// A container as it was at some moment.
#[derive(Debug, Clone)]
pub struct ContainerView {
    /// Its facts.
    pub record: Arc<ContainerRecord>,
    /// Where it is in its life.
    pub state: ContainerState,
    /// Who it runs as, once it was set up.
    pub user: Option<ContainerUser>,
    /// What further processes start from, once it was set up.
    pub(crate) template: Option<Arc<Template>>,
    /// How often it was started by itself since it was last started by hand.
    pub restarts: u32,
    /// It has ended, and is about to be started by itself.
    pub restarting: bool,
}
