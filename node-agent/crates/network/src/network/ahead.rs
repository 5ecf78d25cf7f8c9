//! Networks made ahead of need: attached under a name of their own, they wait for a sandbox.

use std::sync::Arc;

use super::reserve::choose_ports;
use super::watch::exists;
use super::{Inner, Network, lock};
use crate::attachment::{AttachSpec, Attachment, BridgeAttachment};
use crate::error::{AttachError, ReserveError};

impl Network {
    /// Gives a link that stands, with its addresses, to the sandbox of `spec`, which takes it in
    /// place of a reservation and [`Network::attach`]: ports are set aside, and nothing is made.
    /// The link keeps its name, so another must not be made under the sandbox's name that it had.
    ///
    /// `None`: it cannot be given, because the link has gone, or the sandbox has one already.
    ///
    /// # Errors
    /// When a port cannot be had, as with [`Network::reserve`]; the link stays what it was.
    pub fn hand_over(
        &self,
        made: &Attachment,
        spec: &AttachSpec,
    ) -> Result<Option<Attachment>, ReserveError> {
        self.finish_leaving(&spec.sandbox);
        let Attachment::Bridge(link) = made else {
            return Ok(None);
        };
        // Its end may not have been heard of yet.
        let is_there = exists(&link.interface);
        let mut state = lock(&self.inner.state);
        if state.get(&spec.sandbox).is_some() || !is_there || !state.stands(made.sandbox()) {
            return Ok(None);
        }
        let ports = choose_ports(&self.inner.config, &mut state, spec)?;
        let given = state.rename(made.sandbox(), &spec.sandbox, ports);
        Ok(given.map(Attachment::Bridge))
    }

    /// Publishes the ports of an attachment whose link stands.
    ///
    /// # Errors
    /// When the host cannot be made ready, or the kernel refuses a step; nothing is published then.
    pub async fn publish(&self, attachment: &Attachment) -> Result<(), AttachError> {
        let Attachment::Bridge(attachment) = attachment else {
            return Ok(());
        };
        let prepare = |source| AttachError::Prepare {
            sandbox: attachment.sandbox.clone(),
            source,
        };
        // A bridge that somebody has taken away is there again after this, with the link on it.
        self.base().await.map_err(prepare)?;
        if attachment.ports.is_empty() {
            return Ok(());
        }
        let mut done = self.try_publish(attachment).await;
        if done.as_ref().is_err_and(super::attach::host_is_not_ready) {
            *lock(&self.inner.base) = None;
            self.base().await.map_err(prepare)?;
            done = self.try_publish(attachment).await;
        }
        done?;
        self.forward(attachment).await
    }

    async fn try_publish(&self, attachment: &BridgeAttachment) -> Result<(), AttachError> {
        let (inner, of) = (Arc::clone(&self.inner), attachment.clone());
        let work = move || inner.publish_or_withdraw(&of);
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|source| AttachError::Interrupted {
            sandbox: attachment.sandbox.clone(),
            source,
        })?
    }
}

impl Inner {
    fn publish_or_withdraw(&self, attachment: &BridgeAttachment) -> Result<(), AttachError> {
        self.publish(attachment)
            .inspect_err(|_| self.withdraw_ports(attachment))
    }
}
