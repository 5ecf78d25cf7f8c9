//! Sandboxes.

use proto::cri;
use tonic::Status;

use super::{Cri, OWNER, gone_is_done};
use crate::convert::{refuse_windows, resources, sandbox as convert};
use crate::status;

impl Cri {
    pub(super) async fn run_sandbox(
        &self,
        request: cri::RunPodSandboxRequest,
    ) -> Result<cri::RunPodSandboxResponse, Status> {
        let shm = self.node.services().settings.shm_bytes;
        let windows = request
            .config
            .as_ref()
            .and_then(|config| config.windows.as_ref());
        refuse_windows(windows.is_some())?;
        let spec = convert::spec(request, shm)?;
        let id = self.node.run_sandbox(spec).await;
        let id = id.map_err(|error| status::of(&error))?;
        Ok(cri::RunPodSandboxResponse {
            pod_sandbox_id: id.to_string(),
        })
    }

    pub(super) async fn stop_sandbox(
        &self,
        request: cri::StopPodSandboxRequest,
    ) -> Result<cri::StopPodSandboxResponse, Status> {
        gone_is_done(self.node.stop_sandbox(OWNER, &request.pod_sandbox_id).await)?;
        Ok(cri::StopPodSandboxResponse {})
    }

    pub(super) async fn remove_sandbox(
        &self,
        request: cri::RemovePodSandboxRequest,
    ) -> Result<cri::RemovePodSandboxResponse, Status> {
        let removed = self.node.remove_sandbox(OWNER, &request.pod_sandbox_id);
        gone_is_done(removed.await)?;
        Ok(cri::RemovePodSandboxResponse {})
    }

    pub(super) async fn update_sandbox(
        &self,
        request: cri::UpdatePodSandboxResourcesRequest,
    ) -> Result<cri::UpdatePodSandboxResourcesResponse, Status> {
        let limits = resources::of_pod(request.overhead, request.resources);
        let updated = self
            .node
            .update_sandbox_resources(OWNER, &request.pod_sandbox_id, limits);
        updated.await.map_err(|error| status::of(&error))?;
        Ok(cri::UpdatePodSandboxResourcesResponse {})
    }

    pub(super) async fn sandbox_status(
        &self,
        request: &cri::PodSandboxStatusRequest,
    ) -> Result<cri::PodSandboxStatusResponse, Status> {
        let view = self.node.sandbox(OWNER, &request.pod_sandbox_id);
        let view = view.map_err(|error| status::of(&error))?;
        let mut response = convert::status_response(&view, request.verbose);
        if request.verbose
            && let Some(checked) = self.node.check_network(&view).await
        {
            let told = match checked {
                Ok(()) => "as the plugins made it".to_owned(),
                Err(error) => agent_telemetry::chain(&error).to_string(),
            };
            response.info.insert("network".to_owned(), told);
        }
        Ok(response)
    }

    pub(super) fn list_sandboxes(
        &self,
        filter: Option<&cri::PodSandboxFilter>,
    ) -> Vec<cri::PodSandbox> {
        let views = self.node.sandboxes(OWNER);
        views
            .iter()
            .filter(|view| convert::passes(view, filter))
            .map(|view| convert::listed(view))
            .collect()
    }
}
