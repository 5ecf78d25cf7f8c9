//! Brings memory, rules and links in line with the records, after a start or from time to time.

use std::collections::HashSet;
use std::sync::Arc;

use agent_types::SandboxId;

use super::state::LinkState;
use super::{Inner, Network, lock};
use crate::attachment::{Attachment, BridgeAttachment};
use crate::error::RecoverError;
use crate::forward;
use crate::host::bridge::{self, Link};
use crate::netlink::KernelError;
use crate::nft::{Change, Element};

/// What had to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Map elements that nobody knew.
    pub removed_elements: usize,
    /// Map elements that were missing.
    pub added_elements: usize,
    /// Links of ours that belong to no known sandbox.
    pub removed_links: Vec<String>,
    /// Known sandboxes whose link is gone.
    pub missing: Vec<SandboxId>,
    /// Sandboxes whose recorded address belongs to another, or is outside the subnets.
    pub displaced: Vec<SandboxId>,
}

impl Network {
    /// Takes over the attachments of earlier runs and corrects what differs on the host.
    ///
    /// Call it once at start with every record, before anything is reserved; later with an empty
    /// list, to compare again. Nothing is made on a host that has none of ours and needs none.
    ///
    /// # Errors
    /// When the host cannot be made ready or listed, or the rules cannot be corrected.
    pub async fn recover(&self, attachments: &[Attachment]) -> Result<Recovery, RecoverError> {
        let inspect = |source| RecoverError::Inspect { source };
        let mut recovery = Recovery::default();
        let bridged: Vec<&BridgeAttachment> = attachments.iter().filter_map(on_bridge).collect();
        {
            let mut state = lock(&self.inner.state);
            for attachment in &bridged {
                if !state.adopt(attachment) {
                    recovery.displaced.push(attachment.sandbox.clone());
                }
            }
        }
        let links = bridge::links(&self.inner.handle).await.map_err(inspect)?;
        let ours = bridge::find(&links, &self.inner.config.bridge);
        let ours = ours.filter(|link| self.inner.owns(link));
        let in_use = lock(&self.inner.state).entries().next().is_some();
        if ours.is_none() && !in_use {
            return Ok(recovery);
        }
        self.base()
            .await
            .map_err(|source| RecoverError::Prepare { source })?;
        self.compare_links(&links, &bridged, &mut recovery);
        self.remove_strays(&links, ours.map(|link| link.index), &mut recovery)
            .await;
        let inner = Arc::clone(&self.inner);
        let compared = tokio::task::spawn_blocking(move || inner.compare_elements()).await;
        let (added, removed) = compared
            .map_err(|source| RecoverError::Interrupted { source })?
            .map_err(|source| RecoverError::Ports { source })?;
        recovery.added_elements = added;
        recovery.removed_elements = removed;
        for attachment in bridged {
            self.forward_again(attachment);
        }
        Ok(recovery)
    }

    /// Notes which recorded sandboxes have a link.
    fn compare_links(
        &self,
        links: &[Link],
        bridged: &[&BridgeAttachment],
        recovery: &mut Recovery,
    ) {
        let names: HashSet<&str> = links.iter().map(|link| link.name.as_str()).collect();
        let mut state = lock(&self.inner.state);
        for attachment in bridged {
            let there = names.contains(attachment.interface.as_str());
            if let Some(entry) = state.get_mut(&attachment.sandbox) {
                entry.link = if there {
                    LinkState::Present
                } else {
                    LinkState::Absent
                };
            }
            if !there {
                recovery.missing.push(attachment.sandbox.clone());
            }
        }
    }

    /// Deletes links on our bridge that carry our prefix and that nobody knows.
    async fn remove_strays(&self, links: &[Link], ours: Option<u32>, recovery: &mut Recovery) {
        let stray = |link: &&Link| {
            link.is_veth
                && link.name.starts_with(&self.inner.prefix)
                && ours.is_some()
                && link.controller == ours
                && !lock(&self.inner.state).knows_interface(&link.name)
        };
        for link in links.iter().filter(stray) {
            match bridge::delete(&self.inner.handle, link.index).await {
                Ok(()) => recovery.removed_links.push(link.name.clone()),
                Err(error) => {
                    tracing::warn!(interface = %link.name, error = %error, "stray link could not be deleted");
                }
            }
        }
    }

    /// Serves the ports on `[::1]` that the last agent served.
    fn forward_again(&self, attachment: &BridgeAttachment) {
        if lock(&self.inner.forwarders).contains_key(&attachment.sandbox) {
            return;
        }
        let (working, failed) = forward::start(attachment);
        for (port, error) in failed {
            self.inner.warn(format!(
                "port {port} of sandbox {} is not served on [::1]: {error}",
                attachment.sandbox
            ));
        }
        if !working.is_empty() {
            let sandbox = attachment.sandbox.clone();
            lock(&self.inner.forwarders).insert(sandbox, working);
        }
    }
}

impl Inner {
    /// Corrects the maps in one transaction; returns how many elements were added and removed.
    pub(super) fn compare_elements(&self) -> Result<(usize, usize), KernelError> {
        // Held to the end: an attachment or detachment beside us changes the maps before or after.
        let mut table = lock(&self.table);
        let found: HashSet<Element> = table.elements()?.into_iter().collect();
        let mut changes = Vec::new();
        let wanted: HashSet<Element> = lock(&self.state).elements().into_iter().collect();
        changes.extend(found.difference(&wanted).cloned().map(Change::Delete));
        let removed = changes.len();
        changes.extend(wanted.difference(&found).cloned().map(Change::Add));
        table.commit(&changes)?;
        Ok((changes.len() - removed, removed))
    }
}

fn on_bridge(attachment: &Attachment) -> Option<&BridgeAttachment> {
    match attachment {
        Attachment::Bridge(bridge) => Some(bridge),
        Attachment::Host { .. } | Attachment::None { .. } | Attachment::Container { .. } => None,
    }
}
