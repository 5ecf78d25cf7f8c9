//! What sandboxes and containers use.

use proto::cri;
use tonic::Status;

use super::{Cri, OWNER};
use crate::convert::{metrics, stats as convert};
use crate::status;

impl Cri {
    pub(super) async fn container_use(
        &self,
        request: cri::ContainerStatsRequest,
    ) -> Result<cri::ContainerStatsResponse, Status> {
        let stats = self.node.container_stats(OWNER, &request.container_id);
        let stats = stats.await.map_err(|error| status::of(&error))?;
        Ok(cri::ContainerStatsResponse {
            stats: Some(convert::container(&stats, &self.mountpoint())),
        })
    }

    pub(super) async fn container_uses(
        &self,
        filter: Option<cri::ContainerStatsFilter>,
    ) -> Result<Vec<cri::ContainerStats>, Status> {
        let mut all = self.node.containers(OWNER);
        all.retain(|seen| convert::passes(&seen.container, filter.as_ref()));
        let measured = self.node.stats_of(all).await;
        let measured = measured.map_err(|error| status::of(&error))?;
        let mountpoint = self.mountpoint();
        Ok(measured
            .iter()
            .map(|one| convert::container(one, &mountpoint))
            .collect())
    }

    pub(super) async fn sandbox_use(
        &self,
        request: cri::PodSandboxStatsRequest,
    ) -> Result<cri::PodSandboxStatsResponse, Status> {
        let stats = self.node.sandbox_stats(OWNER, &request.pod_sandbox_id);
        let stats = stats.await.map_err(|error| status::of(&error))?;
        Ok(cri::PodSandboxStatsResponse {
            stats: Some(convert::sandbox(&stats, &self.mountpoint())),
        })
    }

    pub(super) async fn sandbox_uses(
        &self,
        filter: Option<cri::PodSandboxStatsFilter>,
    ) -> Result<Vec<cri::PodSandboxStats>, Status> {
        let mut all = self.node.sandboxes(OWNER);
        all.retain(|view| convert::sandbox_passes(view, filter.as_ref()));
        let measured = self.node.stats_of_sandboxes(all).await;
        let measured = measured.map_err(|error| status::of(&error))?;
        let mountpoint = self.mountpoint();
        let shown = measured.iter();
        Ok(shown
            .map(|one| convert::sandbox(one, &mountpoint))
            .collect())
    }

    pub(super) async fn metrics(&self) -> Result<Vec<cri::PodSandboxMetrics>, Status> {
        let metrics = self.node.metrics(OWNER).await;
        let metrics = metrics.map_err(|error| status::of(&error))?;
        Ok(metrics::sandboxes(&metrics))
    }

    /// Returns the directory whose file system holds writable layers.
    pub(super) fn mountpoint(&self) -> String {
        let base = self.node.services().snapshots.base();
        base.to_string_lossy().into_owned()
    }
}
