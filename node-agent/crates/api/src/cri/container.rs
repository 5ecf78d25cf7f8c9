//! Containers and the processes in them.

use std::time::Duration;

use agent_core::exec::ExecSpec;
use proto::cri;
use tonic::Status;

use super::{Cri, OWNER, gone_is_done};
use crate::convert::{container as convert, refuse_windows, resources};
use crate::status;

impl Cri {
    pub(super) async fn create(
        &self,
        request: cri::CreateContainerRequest,
    ) -> Result<cri::CreateContainerResponse, Status> {
        let config = request
            .config
            .ok_or_else(|| status::invalid("config is missing"))?;
        refuse_windows(config.windows.is_some())?;
        let timeout = self.node.services().settings.stop_timeout;
        let spec = convert::spec(config, timeout)?;
        let created = self
            .node
            .create_container(OWNER, &request.pod_sandbox_id, spec);
        let id = created.await.map_err(|error| status::of(&error))?;
        Ok(cri::CreateContainerResponse {
            container_id: id.to_string(),
        })
    }

    pub(super) async fn start(
        &self,
        request: cri::StartContainerRequest,
    ) -> Result<cri::StartContainerResponse, Status> {
        let started = self.node.start_container(OWNER, &request.container_id);
        started
            .await
            .map_err(|error| status::with_exit_code(&error, error.program_exit_code()))?;
        Ok(cri::StartContainerResponse {})
    }

    pub(super) async fn stop(
        &self,
        request: cri::StopContainerRequest,
    ) -> Result<cri::StopContainerResponse, Status> {
        // A negative time-out asks for no mercy, like 0.
        let seconds = u64::try_from(request.timeout).unwrap_or_default();
        let grace = Duration::from_secs(seconds);
        let stopped = self
            .node
            .stop_container(OWNER, &request.container_id, None, Some(grace));
        gone_is_done(stopped.await)?;
        Ok(cri::StopContainerResponse {})
    }

    pub(super) async fn remove(
        &self,
        request: cri::RemoveContainerRequest,
    ) -> Result<cri::RemoveContainerResponse, Status> {
        let removed = self
            .node
            .remove_container(OWNER, &request.container_id, true);
        gone_is_done(removed.await.map(drop))?;
        Ok(cri::RemoveContainerResponse {})
    }

    pub(super) async fn container_status(
        &self,
        request: &cri::ContainerStatusRequest,
    ) -> Result<cri::ContainerStatusResponse, Status> {
        let seen = self.node.container(OWNER, &request.container_id);
        let seen = seen.map_err(|error| status::of(&error))?;
        let limits = self.node.limits_in_force(&seen).await;
        Ok(convert::status_response(&seen, &limits, request.verbose))
    }

    pub(super) fn list(&self, filter: Option<&cri::ContainerFilter>) -> Vec<cri::Container> {
        let all = self.node.containers(OWNER);
        all.iter()
            .filter(|seen| convert::passes(seen, filter))
            .map(|seen| convert::listed(&seen.container))
            .collect()
    }

    pub(super) async fn exec_sync_in(
        &self,
        request: cri::ExecSyncRequest,
    ) -> Result<cri::ExecSyncResponse, Status> {
        if request.cmd.is_empty() {
            return Err(status::invalid("cmd is empty"));
        }
        let seconds = u64::try_from(request.timeout).unwrap_or_default();
        let spec = ExecSpec {
            command: request.cmd,
            timeout: (seconds > 0).then(|| Duration::from_secs(seconds)),
            ..ExecSpec::default()
        };
        let ran = self.node.exec_sync(OWNER, &request.container_id, spec);
        let output = ran
            .await
            .map_err(|error| status::with_exit_code(&error, error.program_exit_code()))?;
        Ok(cri::ExecSyncResponse {
            stdout: output.stdout,
            stderr: output.stderr,
            exit_code: output.exit_code,
        })
    }

    pub(super) async fn reopen(
        &self,
        request: cri::ReopenContainerLogRequest,
    ) -> Result<cri::ReopenContainerLogResponse, Status> {
        let reopened = self.node.reopen_log(OWNER, &request.container_id);
        reopened.await.map_err(|error| status::of(&error))?;
        Ok(cri::ReopenContainerLogResponse {})
    }

    pub(super) async fn update(
        &self,
        request: cri::UpdateContainerResourcesRequest,
    ) -> Result<cri::UpdateContainerResourcesResponse, Status> {
        refuse_windows(request.windows.is_some())?;
        let change = resources::change(request.linux.unwrap_or_default())?;
        let updated = self
            .node
            .update_resources(OWNER, &request.container_id, change);
        updated.await.map_err(|error| status::of(&error))?;
        Ok(cri::UpdateContainerResourcesResponse {})
    }
}
