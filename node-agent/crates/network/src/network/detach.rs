//! Takes a sandbox off the network.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Inner, Network, lock};
use crate::attachment::{Attachment, BridgeAttachment};
use crate::error::{TeardownError, TeardownErrors};
use crate::netlink::link;
use crate::nft::{Change, Stale, elements};

/// How long a link may outlive its sandbox before it is deleted by hand.
const PATIENCE: Duration = Duration::from_secs(5);

impl Network {
    /// Withdraws `attachment`; repeatable, also half made, after a restart, and for a
    /// reservation that was never attached.
    ///
    /// The link goes with the sandbox's network namespace, so close every descriptor of it. The
    /// address is given out again only once the link is seen gone; a link that somebody keeps
    /// alive is deleted in the background.
    ///
    /// # Errors
    /// With everything that could not be taken down; the rest was.
    pub async fn detach(&self, attachment: &Attachment) -> Result<(), TeardownErrors> {
        let Attachment::Bridge(attachment) = attachment else {
            return Ok(());
        };
        let sandbox = &attachment.sandbox;
        self.stop_forwarders(sandbox).await;
        let mut errors = Vec::new();
        let known = lock(&self.inner.state)
            .get(sandbox)
            .map(|entry| entry.detached);
        // Elements of a sandbox that is not known may belong to whoever has its ports by now.
        if known == Some(false) && !attachment.ports.is_empty() {
            let (inner, gone) = (Arc::clone(&self.inner), attachment.clone());
            let work = tokio::task::spawn_blocking(move || inner.withdraw(&gone));
            match work.await {
                Ok(Ok(())) => {}
                Ok(Err(source)) => errors.push(TeardownError::Ports {
                    sandbox: sandbox.clone(),
                    source,
                }),
                Err(source) => errors.push(TeardownError::Interrupted { source }),
            }
        } else {
            lock(&self.inner.state).detach(sandbox);
        }
        if lock(&self.inner.state).knows_interface(&attachment.interface) && known == Some(false) {
            let interface = attachment.interface.clone();
            tokio::spawn(sweep(Arc::downgrade(&self.inner), interface));
        }
        TeardownErrors::check(errors)
    }
}

impl Inner {
    /// Removes a sandbox's elements and then lets its ports go, in the eyes of a comparison at once.
    fn withdraw(&self, attachment: &BridgeAttachment) -> Result<(), crate::netlink::KernelError> {
        let gone: Vec<Change> = elements(attachment)
            .into_iter()
            .map(Change::Delete)
            .collect();
        let mut table = lock(&self.table);
        let done = table.commit(&gone);
        table.forget_stale(attachment, Stale::Here);
        lock(&self.state).detach(&attachment.sandbox);
        done
    }
}

/// Deletes a link that is still there after a while.
async fn sweep(inner: Weak<Inner>, interface: String) {
    tokio::time::sleep(PATIENCE).await;
    let Some(inner) = inner.upgrade() else { return };
    // The sandbox may be there again by now, with a link of the same name.
    if !lock(&inner.state).waits_for(&interface) {
        return;
    }
    let name = interface.clone();
    let worker = Arc::clone(&inner);
    let deleted =
        tokio::task::spawn_blocking(move || link::delete(&mut lock(&worker.route), &name));
    match deleted.await {
        Ok(Ok(())) => {
            // Its end may have been seen before it was known to be ours to wait for.
            lock(&inner.state).link_gone(&interface);
            tracing::warn!(interface = %interface, "link outlived its sandbox and was deleted");
        }
        Ok(Err(error)) => {
            tracing::warn!(interface = %interface, error = %error.source, "link could not be deleted");
        }
        Err(error) => {
            tracing::warn!(interface = %interface, error = %error, "sweep was interrupted")
        }
    }
}
