//! The runtime service: every method translates and calls; what is not built yet says so.

use std::pin::Pin;

use agent_core::node::NetworkCondition;
use agent_core::time::Timestamp;
use futures_util::Stream;
use proto::cri;
use proto::cri::runtime_service_server::RuntimeService;
use tonic::{Request, Response, Status};

use super::Cri;
use super::batch::batches;
use crate::follow::follow;
use crate::{convert, status};

type Answer<T> = Result<Response<T>, Status>;
/// Messages of a server stream.
pub(super) type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Version of this interface that the node speaks, as CRI names it.
const API_VERSION: &str = "v1";

/// Version of the kubelet's own runtime API.
const KUBELET_API_VERSION: &str = "0.1.0";

/// Reason of a network condition that does not hold, as kubelets know it.
const NETWORK_NOT_READY: &str = "NetworkPluginNotReady";

/// Returns the answer of a method that is not built yet.
fn later(method: &str) -> Status {
    Status::unimplemented(format!("{method} is not implemented by this node"))
}

impl Cri {
    /// Returns the runtime handlers with what each of them can do.
    async fn handlers(&self) -> Vec<cri::RuntimeHandler> {
        let services = self.node.services();
        let mut handlers = Vec::new();
        for name in services.settings.handlers.names() {
            handlers.push(cri::RuntimeHandler {
                name: name.to_owned(),
                features: Some(cri::RuntimeHandlerFeatures {
                    recursive_read_only_mounts: services.recursive_readonly(name).await,
                    user_namespaces: services.user_namespaces(name),
                }),
            });
        }
        handlers
    }

    /// Tells what becomes of a container that names no SELinux type.
    fn selinux(&self) -> String {
        let selinux = &self.node.services().selinux;
        match (selinux.is_enabled(), selinux.default_type()) {
            (false, _) => "the kernel has none".to_owned(),
            (true, None) => "the policy has no labels for containers".to_owned(),
            (true, Some(kind)) => kind,
        }
    }

    /// Tells what becomes of a container that names no AppArmor profile.
    async fn apparmor(&self) -> String {
        let apparmor = std::sync::Arc::clone(&self.node.services().apparmor);
        let found = tokio::task::spawn_blocking(move || apparmor.default_profile()).await;
        match found {
            Ok(Ok(Some(profile))) => profile.to_owned(),
            Ok(Ok(None)) => "the kernel has none".to_owned(),
            Ok(Err(error)) => status::of(&error).message().to_owned(),
            Err(_) => "unknown".to_owned(),
        }
    }

    async fn conditions(&self) -> Vec<cri::RuntimeCondition> {
        let ready = |name: &str| cri::RuntimeCondition {
            r#type: name.to_owned(),
            status: true,
            ..cri::RuntimeCondition::default()
        };
        let mut network_ready = ready("NetworkReady");
        match self.node.network_condition().await {
            NetworkCondition::Ready { warning } => network_ready.message = warning,
            NetworkCondition::NotReady { why } => {
                network_ready.status = false;
                NETWORK_NOT_READY.clone_into(&mut network_ready.reason);
                network_ready.message = why;
            }
        }
        vec![ready("RuntimeReady"), network_ready]
    }
}

#[tonic::async_trait]
impl RuntimeService for Cri {
    async fn version(
        &self,
        _request: Request<cri::VersionRequest>,
    ) -> Answer<cri::VersionResponse> {
        Ok(Response::new(cri::VersionResponse {
            version: KUBELET_API_VERSION.to_owned(),
            runtime_name: "node-agent".to_owned(),
            runtime_version: self.identity.version.clone(),
            runtime_api_version: API_VERSION.to_owned(),
        }))
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<cri::RunPodSandboxRequest>,
    ) -> Answer<cri::RunPodSandboxResponse> {
        self.run_sandbox(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<cri::StopPodSandboxRequest>,
    ) -> Answer<cri::StopPodSandboxResponse> {
        self.stop_sandbox(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<cri::RemovePodSandboxRequest>,
    ) -> Answer<cri::RemovePodSandboxResponse> {
        self.remove_sandbox(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<cri::PodSandboxStatusRequest>,
    ) -> Answer<cri::PodSandboxStatusResponse> {
        let response = self.sandbox_status(request.get_ref()).await;
        response.map(Response::new)
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<cri::ListPodSandboxRequest>,
    ) -> Answer<cri::ListPodSandboxResponse> {
        let items = self.list_sandboxes(request.get_ref().filter.as_ref());
        Ok(Response::new(cri::ListPodSandboxResponse { items }))
    }

    type StreamPodSandboxesStream = Streamed<cri::StreamPodSandboxesResponse>;

    async fn stream_pod_sandboxes(
        &self,
        request: Request<cri::StreamPodSandboxesRequest>,
    ) -> Answer<Self::StreamPodSandboxesStream> {
        let sandboxes = self.list_sandboxes(request.get_ref().filter.as_ref());
        Ok(batches(sandboxes, |pod_sandboxes| {
            cri::StreamPodSandboxesResponse { pod_sandboxes }
        }))
    }

    async fn create_container(
        &self,
        request: Request<cri::CreateContainerRequest>,
    ) -> Answer<cri::CreateContainerResponse> {
        self.create(request.into_inner()).await.map(Response::new)
    }

    async fn start_container(
        &self,
        request: Request<cri::StartContainerRequest>,
    ) -> Answer<cri::StartContainerResponse> {
        self.start(request.into_inner()).await.map(Response::new)
    }

    async fn stop_container(
        &self,
        request: Request<cri::StopContainerRequest>,
    ) -> Answer<cri::StopContainerResponse> {
        self.stop(request.into_inner()).await.map(Response::new)
    }

    async fn remove_container(
        &self,
        request: Request<cri::RemoveContainerRequest>,
    ) -> Answer<cri::RemoveContainerResponse> {
        self.remove(request.into_inner()).await.map(Response::new)
    }

    async fn list_containers(
        &self,
        request: Request<cri::ListContainersRequest>,
    ) -> Answer<cri::ListContainersResponse> {
        let containers = self.list(request.get_ref().filter.as_ref());
        Ok(Response::new(cri::ListContainersResponse { containers }))
    }

    type StreamContainersStream = Streamed<cri::StreamContainersResponse>;

    async fn stream_containers(
        &self,
        request: Request<cri::StreamContainersRequest>,
    ) -> Answer<Self::StreamContainersStream> {
        let containers = self.list(request.get_ref().filter.as_ref());
        Ok(batches(containers, |containers| {
            cri::StreamContainersResponse { containers }
        }))
    }

    async fn container_status(
        &self,
        request: Request<cri::ContainerStatusRequest>,
    ) -> Answer<cri::ContainerStatusResponse> {
        self.container_status(request.get_ref())
            .await
            .map(Response::new)
    }

    async fn update_container_resources(
        &self,
        request: Request<cri::UpdateContainerResourcesRequest>,
    ) -> Answer<cri::UpdateContainerResourcesResponse> {
        self.update(request.into_inner()).await.map(Response::new)
    }

    async fn reopen_container_log(
        &self,
        request: Request<cri::ReopenContainerLogRequest>,
    ) -> Answer<cri::ReopenContainerLogResponse> {
        self.reopen(request.into_inner()).await.map(Response::new)
    }

    async fn exec_sync(
        &self,
        request: Request<cri::ExecSyncRequest>,
    ) -> Answer<cri::ExecSyncResponse> {
        self.exec_sync_in(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn exec(&self, request: Request<cri::ExecRequest>) -> Answer<cri::ExecResponse> {
        self.exec_url(request.into_inner()).map(Response::new)
    }

    async fn attach(&self, request: Request<cri::AttachRequest>) -> Answer<cri::AttachResponse> {
        self.attach_url(request.get_ref()).map(Response::new)
    }

    async fn port_forward(
        &self,
        request: Request<cri::PortForwardRequest>,
    ) -> Answer<cri::PortForwardResponse> {
        self.port_forward_url(request.get_ref()).map(Response::new)
    }

    async fn container_stats(
        &self,
        request: Request<cri::ContainerStatsRequest>,
    ) -> Answer<cri::ContainerStatsResponse> {
        self.container_use(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn list_container_stats(
        &self,
        request: Request<cri::ListContainerStatsRequest>,
    ) -> Answer<cri::ListContainerStatsResponse> {
        let stats = self.container_uses(request.into_inner().filter).await?;
        Ok(Response::new(cri::ListContainerStatsResponse { stats }))
    }

    type StreamContainerStatsStream = Streamed<cri::StreamContainerStatsResponse>;

    async fn stream_container_stats(
        &self,
        request: Request<cri::StreamContainerStatsRequest>,
    ) -> Answer<Self::StreamContainerStatsStream> {
        let stats = self.container_uses(request.into_inner().filter).await?;
        Ok(batches(stats, |container_stats| {
            cri::StreamContainerStatsResponse { container_stats }
        }))
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<cri::PodSandboxStatsRequest>,
    ) -> Answer<cri::PodSandboxStatsResponse> {
        self.sandbox_use(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<cri::ListPodSandboxStatsRequest>,
    ) -> Answer<cri::ListPodSandboxStatsResponse> {
        let stats = self.sandbox_uses(request.into_inner().filter).await?;
        Ok(Response::new(cri::ListPodSandboxStatsResponse { stats }))
    }

    type StreamPodSandboxStatsStream = Streamed<cri::StreamPodSandboxStatsResponse>;

    async fn stream_pod_sandbox_stats(
        &self,
        request: Request<cri::StreamPodSandboxStatsRequest>,
    ) -> Answer<Self::StreamPodSandboxStatsStream> {
        let stats = self.sandbox_uses(request.into_inner().filter).await?;
        Ok(batches(stats, |pod_sandbox_stats| {
            cri::StreamPodSandboxStatsResponse { pod_sandbox_stats }
        }))
    }

    async fn update_runtime_config(
        &self,
        request: Request<cri::UpdateRuntimeConfigRequest>,
    ) -> Answer<cri::UpdateRuntimeConfigResponse> {
        let config = request.into_inner().runtime_config.unwrap_or_default();
        let network = config.network_config.unwrap_or_default();
        let ranges = convert::ranges(&network.pod_cidr)?;
        if !ranges.is_empty() {
            let set = self.node.set_pod_ranges(ranges).await;
            set.map_err(|error| status::of(&error))?;
        }
        Ok(Response::new(cri::UpdateRuntimeConfigResponse {}))
    }

    async fn status(&self, request: Request<cri::StatusRequest>) -> Answer<cri::StatusResponse> {
        let mut info = std::collections::HashMap::new();
        if request.get_ref().verbose {
            info.insert("time".to_owned(), Timestamp::now().nanos().to_string());
            info.insert("version".to_owned(), self.identity.version.clone());
            info.insert("apparmor".to_owned(), self.apparmor().await);
            info.insert("selinux".to_owned(), self.selinux());
        }
        Ok(Response::new(cri::StatusResponse {
            status: Some(cri::RuntimeStatus {
                conditions: self.conditions().await,
            }),
            info,
            runtime_handlers: self.handlers().await,
            features: Some(cri::RuntimeFeatures {
                supplemental_groups_policy: true,
                mount_options: true,
                ..cri::RuntimeFeatures::default()
            }),
        }))
    }

    async fn checkpoint_container(
        &self,
        _request: Request<cri::CheckpointContainerRequest>,
    ) -> Answer<cri::CheckpointContainerResponse> {
        Err(later("CheckpointContainer"))
    }

    async fn checkpoint_pod(
        &self,
        _request: Request<cri::CheckpointPodRequest>,
    ) -> Answer<cri::CheckpointPodResponse> {
        Err(later("CheckpointPod"))
    }

    async fn restore_pod(
        &self,
        _request: Request<cri::RestorePodRequest>,
    ) -> Answer<cri::RestorePodResponse> {
        Err(later("RestorePod"))
    }

    type GetContainerEventsStream = Streamed<cri::ContainerEventResponse>;

    async fn get_container_events(
        &self,
        _request: Request<cri::GetEventsRequest>,
    ) -> Answer<Self::GetContainerEventsStream> {
        let heard = self.node.services().events.listen();
        let events = follow(heard, convert::event::container_events);
        Ok(Response::new(Box::pin(events)))
    }

    async fn list_metric_descriptors(
        &self,
        _request: Request<cri::ListMetricDescriptorsRequest>,
    ) -> Answer<cri::ListMetricDescriptorsResponse> {
        let descriptors = convert::metrics::descriptors();
        Ok(Response::new(cri::ListMetricDescriptorsResponse {
            descriptors,
        }))
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _request: Request<cri::ListPodSandboxMetricsRequest>,
    ) -> Answer<cri::ListPodSandboxMetricsResponse> {
        let pod_metrics = self.metrics().await?;
        Ok(Response::new(cri::ListPodSandboxMetricsResponse {
            pod_metrics,
        }))
    }

    type StreamPodSandboxMetricsStream = Streamed<cri::StreamPodSandboxMetricsResponse>;

    async fn stream_pod_sandbox_metrics(
        &self,
        _request: Request<cri::StreamPodSandboxMetricsRequest>,
    ) -> Answer<Self::StreamPodSandboxMetricsStream> {
        Ok(batches(self.metrics().await?, |pod_sandbox_metrics| {
            cri::StreamPodSandboxMetricsResponse {
                pod_sandbox_metrics,
            }
        }))
    }

    async fn runtime_config(
        &self,
        _request: Request<cri::RuntimeConfigRequest>,
    ) -> Answer<cri::RuntimeConfigResponse> {
        Ok(Response::new(cri::RuntimeConfigResponse {
            linux: Some(cri::LinuxRuntimeConfiguration {
                cgroup_driver: match self.node.services().cgroups.is_systemd() {
                    true => cri::CgroupDriver::Systemd,
                    false => cri::CgroupDriver::Cgroupfs,
                }
                .into(),
            }),
        }))
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: Request<cri::UpdatePodSandboxResourcesRequest>,
    ) -> Answer<cri::UpdatePodSandboxResourcesResponse> {
        self.update_sandbox(request.into_inner())
            .await
            .map(Response::new)
    }
}
