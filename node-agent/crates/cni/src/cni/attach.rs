//! ADD: joins a sandbox, plugin after plugin.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use agent_sys::netns;
use serde_json::Value;

use super::Cni;
use crate::attachment::Attachment;
use crate::error::AttachError;
use crate::plugin::Command;
use crate::request::Request;
use crate::result::in_version;

impl Cni {
    /// Joins the sandbox that has the namespace `netns`, and notes in `attachment` what came of it.
    ///
    /// Nothing is undone on failure: what was made is known to nobody but the plugins, and
    /// [`Cni::detach`] is how they are told.
    ///
    /// # Errors
    /// At the first plugin that fails, hangs or dies.
    pub async fn attach(
        &self,
        attachment: &mut Attachment,
        netns: BorrowedFd<'_>,
    ) -> Result<(), AttachError> {
        self.pin(attachment, netns).await?;
        let mut previous: Option<Value> = None;
        for plugin in &attachment.network.plugins {
            let request = Request::about(
                Command::Add,
                attachment,
                plugin,
                Some(&attachment.netns),
                previous.as_ref(),
            );
            let answer = self.inner.runner.run(plugin.program(), &request).await;
            let answer = answer.map_err(|source| AttachError::Plugin {
                sandbox: attachment.sandbox.clone(),
                network: attachment.network.name.clone(),
                source,
            })?;
            let result = in_version(answer, attachment.network.version);
            previous = Some(result.map_err(|source| AttachError::Result {
                sandbox: attachment.sandbox.clone(),
                plugin: plugin.program().to_owned(),
                source,
            })?);
        }
        attachment.result = previous;
        if attachment.addresses().is_empty() {
            return Err(AttachError::NoAddress {
                sandbox: attachment.sandbox.clone(),
                network: attachment.network.name.clone(),
            });
        }
        Ok(())
    }

    async fn pin(&self, attachment: &Attachment, netns: BorrowedFd<'_>) -> Result<(), AttachError> {
        let failed = |source| AttachError::Pin {
            sandbox: attachment.sandbox.clone(),
            path: attachment.netns.clone(),
            source,
        };
        let netns = netns.try_clone_to_owned().map_err(failed)?;
        let path = attachment.netns.clone();
        let work = tokio::task::spawn_blocking(move || {
            use std::os::fd::AsFd;
            make_parent(&path)?;
            netns::pin(netns.as_fd(), &path)
        });
        work.await
            .unwrap_or_else(|lost| Err(io::Error::other(lost)))
            .map_err(failed)
    }
}

fn make_parent(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match path.parent() {
        Some(parent) => std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent),
        None => Ok(()),
    }
}
