//! What a kubelet asks about the node as a whole.

use std::sync::Arc;
use std::time::Duration;

use proto::cri::{
    GetEventsRequest, ImageFsInfoRequest, ListContainerStatsRequest, ListImagesRequest,
    ListPodSandboxStatsRequest, NetworkConfig, RuntimeConfig, RuntimeConfigRequest, RuntimeStatus,
    StatusRequest, UpdateRuntimeConfigRequest,
};

use super::{Kubelet, Machine};

/// How often the node's condition is looked at.
const PERIOD: Duration = Duration::from_secs(5);

impl Kubelet {
    /// Says what a kubelet says first.
    pub(super) async fn introduce(self: Arc<Self>) {
        let Machine { cri, tally, .. } = &self.machine;
        let mut runtime = cri.runtime.clone();
        tally.call("Version", cri.version()).await;
        tally
            .call(
                "RuntimeConfig",
                runtime.runtime_config(RuntimeConfigRequest {}),
            )
            .await;
        let network_config = Some(NetworkConfig {
            pod_cidr: "10.233.0.0/24".to_owned(),
        });
        let request = UpdateRuntimeConfigRequest {
            runtime_config: Some(RuntimeConfig { network_config }),
        };
        tally
            .call(
                "UpdateRuntimeConfig",
                runtime.update_runtime_config(request),
            )
            .await;
    }

    /// Hears of what happens, where the agent tells; looks at once when something has.
    pub(super) async fn hear_events(self: Arc<Self>) {
        let Machine { cri, tally, .. } = &self.machine;
        loop {
            let mut runtime = cri.runtime.clone();
            let asked = runtime.get_container_events(GetEventsRequest {});
            if let Some(answer) = tally.call("GetContainerEvents", asked).await {
                let mut events = answer.into_inner();
                while let Ok(Some(event)) = events.message().await {
                    if event.pod_sandbox_status.is_none() {
                        tally.complain(format!("an event without its sandbox: {event:?}"));
                    }
                    self.hurry.notify_one();
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Watches over the node, for ever.
    pub(super) async fn watch_node(self: Arc<Self>) {
        let Machine { cri, tally, .. } = &self.machine;
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            let mut runtime = cri.runtime.clone();
            let mut images = cri.image.clone();
            let request = StatusRequest { verbose: false };
            if let Some(answer) = tally.call("Status", runtime.status(request)).await {
                self.conditions(answer.into_inner().status);
            }
            let request = ListPodSandboxStatsRequest { filter: None };
            tally
                .call(
                    "ListPodSandboxStats",
                    runtime.list_pod_sandbox_stats(request),
                )
                .await;
            let request = ListContainerStatsRequest { filter: None };
            tally
                .call("ListContainerStats", runtime.list_container_stats(request))
                .await;
            tally
                .call("ImageFsInfo", images.image_fs_info(ImageFsInfoRequest {}))
                .await;
            let request = ListImagesRequest { filter: None };
            tally.call("ListImages", images.list_images(request)).await;
        }
    }

    fn conditions(&self, status: Option<RuntimeStatus>) {
        let conditions = status.map(|status| status.conditions).unwrap_or_default();
        for wanted in ["RuntimeReady", "NetworkReady"] {
            if !conditions
                .iter()
                .any(|one| one.r#type == wanted && one.status)
            {
                self.machine
                    .tally
                    .complain(format!("the node is not {wanted}: {conditions:?}"));
            }
        }
    }
}
