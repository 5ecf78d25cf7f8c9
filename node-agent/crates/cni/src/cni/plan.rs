//! Says what will be done for a sandbox, so that it can be recorded first.

use std::sync::Arc;

use super::Cni;
use crate::attachment::{AttachSpec, Attachment, INTERFACE, args};
use crate::config::{NetworkConfig, SearchError};
use crate::error::PlanError;

impl Cni {
    /// Returns how a sandbox will be joined by [`Cni::attach`]; makes nothing and runs nothing.
    ///
    /// # Errors
    /// When the directory holds no configuration, or the pod has a name that plugins would misread.
    pub async fn plan(&self, spec: AttachSpec) -> Result<Attachment, PlanError> {
        let sandbox = &spec.sandbox;
        let args = args(sandbox, &spec.pod)?;
        let inner = Arc::clone(&self.inner);
        let network = tokio::task::spawn_blocking(move || inner.directory.first())
            .await
            .map_err(|source| PlanError::Interrupted {
                sandbox: sandbox.clone(),
                source,
            })?
            .map_err(|source| PlanError::Search {
                sandbox: sandbox.clone(),
                source,
            })?;
        Ok(Attachment {
            netns: self.inner.config.netns_directory.join(sandbox.as_str()),
            interface: INTERFACE.to_owned(),
            network: NetworkConfig::clone(&network),
            capabilities: spec.capabilities,
            args,
            result: None,
            sandbox: spec.sandbox,
        })
    }

    /// Returns the configuration that counts now; blocking.
    ///
    /// # Errors
    /// When there is none, or none that is valid.
    pub fn configuration(&self) -> Result<Arc<NetworkConfig>, SearchError> {
        self.inner.directory.first()
    }
}
