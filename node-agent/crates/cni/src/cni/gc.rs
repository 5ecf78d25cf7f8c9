//! GC: has plugins forget sandboxes that nobody has any more.

use std::sync::Arc;

use super::Cni;
use crate::attachment::Attachment;
use crate::error::GcError;
use crate::request::Request;

impl Cni {
    /// Tells every plugin of the current network which attachments hold; what they keep for
    /// others, they give up.
    ///
    /// Only for networks whose version has GC and that want it. Returns what went wrong; each
    /// plugin is told whatever the others say.
    pub async fn gc(&self, valid: &[Attachment]) -> Vec<GcError> {
        let inner = Arc::clone(&self.inner);
        let network = tokio::task::spawn_blocking(move || inner.directory.first()).await;
        // No configuration: nobody to tell.
        let Ok(Ok(network)) = network else {
            return Vec::new();
        };
        if network.disable_gc || !network.version.has_status_and_gc() {
            return Vec::new();
        }
        let of_network: Vec<&Attachment> = valid
            .iter()
            .filter(|attachment| attachment.network.name == network.name)
            .collect();
        let mut errors = Vec::new();
        for plugin in &network.plugins {
            let request = Request::gc(&network, plugin, &of_network);
            let told = self.inner.runner.run(plugin.program(), &request).await;
            errors.extend(told.err().map(|source| GcError {
                network: network.name.clone(),
                source,
            }));
        }
        errors
    }
}
