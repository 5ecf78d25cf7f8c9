//! What answers behind a peer's socket.

use std::path::Path;

use anyhow::Result;
use harness::cri::Cri;
use harness::wait;

use super::agent::AgentPeer;
use super::containerd::Containerd;
use crate::cli::External;

/// The kinds of endpoints.
#[derive(Debug)]
pub(super) enum Service {
    Containerd(Containerd),
    Agent(AgentPeer),
    External(External),
}

impl Service {
    /// Returns where it listens.
    pub(super) fn socket(&self) -> &Path {
        match self {
            Self::Containerd(containerd) => containerd.socket(),
            Self::Agent(agent) => agent.socket(),
            Self::External(external) => &external.socket,
        }
    }

    /// Returns a client once the endpoint lists its sandboxes.
    pub(super) async fn serving(&self) -> Result<Cri> {
        let socket = self.socket();
        wait::until_async("the endpoint serves", || async move {
            let cri = Cri::connect(socket).await?;
            cri.runtime
                .clone()
                .list_pod_sandbox(proto::cri::ListPodSandboxRequest { filter: None })
                .await?;
            Ok(Some(cri))
        })
        .await
    }

    /// Returns the versions of the packages below it.
    pub(super) fn packages(&self) -> Vec<String> {
        match self {
            Self::Containerd(containerd) => containerd.packages(),
            Self::Agent(_) | Self::External(_) => Vec::new(),
        }
    }
}
