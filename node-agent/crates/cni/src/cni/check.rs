//! CHECK: asks whether a sandbox is still joined as it was.

use super::Cni;
use crate::attachment::Attachment;
use crate::error::CheckError;
use crate::plugin::Command;
use crate::request::Request;

impl Cni {
    /// Asks every plugin whether what it made still stands.
    ///
    /// A network whose version has no CHECK, or that does not want it, is taken at its word.
    ///
    /// # Errors
    /// At the first plugin that misses something.
    pub async fn check(&self, attachment: &Attachment) -> Result<(), CheckError> {
        let network = &attachment.network;
        let Some(result) = &attachment.result else {
            return Ok(());
        };
        if network.disable_check || !network.version.has_check() {
            return Ok(());
        }
        for plugin in &network.plugins {
            let netns = Some(attachment.netns.as_path());
            let request = Request::about(Command::Check, attachment, plugin, netns, Some(result));
            let asked = self.inner.runner.run(plugin.program(), &request).await;
            asked.map_err(|source| CheckError {
                sandbox: attachment.sandbox.clone(),
                network: network.name.clone(),
                source,
            })?;
        }
        Ok(())
    }
}
