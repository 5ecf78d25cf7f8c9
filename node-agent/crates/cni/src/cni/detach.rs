//! DEL: releases a sandbox, the last plugin first.

use agent_sys::netns;

use super::Cni;
use crate::attachment::Attachment;
use crate::error::{DetachError, DetachErrors};
use crate::plugin::Command;
use crate::request::Request;

impl Cni {
    /// Releases a sandbox; repeatable, also half made, after a restart or a boot, and when the
    /// configuration is gone.
    ///
    /// The path of its namespace is let go once every plugin is content, so that a later attempt
    /// still finds what the first one could not release.
    ///
    /// # Errors
    /// With everything that could not be released; each plugin was asked.
    pub async fn detach(&self, attachment: &Attachment) -> Result<(), DetachErrors> {
        let mut errors = Vec::new();
        let path = attachment.netns.clone();
        // Its look never fails: a namespace that cannot be seen is gone to plugins too.
        let stands = tokio::task::spawn_blocking(move || netns::is_pinned(&path));
        let netns = stands
            .await
            .unwrap_or(false)
            .then_some(attachment.netns.as_path());
        for plugin in attachment.network.plugins.iter().rev() {
            let request = Request::about(
                Command::Del,
                attachment,
                plugin,
                netns,
                attachment.result.as_ref(),
            );
            if let Err(source) = self.inner.runner.run(plugin.program(), &request).await {
                errors.push(DetachError::Plugin {
                    sandbox: attachment.sandbox.clone(),
                    network: attachment.network.name.clone(),
                    source,
                });
            }
        }
        if errors.is_empty() {
            errors.extend(unpin(attachment).await.err());
        }
        DetachErrors::check(errors)
    }
}

async fn unpin(attachment: &Attachment) -> Result<(), DetachError> {
    let path = attachment.netns.clone();
    let work = tokio::task::spawn_blocking(move || netns::unpin(&path));
    work.await
        .unwrap_or_else(|lost| Err(std::io::Error::other(lost)))
        .map_err(|source| DetachError::Unpin {
            sandbox: attachment.sandbox.clone(),
            path: attachment.netns.clone(),
            source,
        })
}
