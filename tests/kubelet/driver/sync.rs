//! The calls that bring a pod up and take it down, in a kubelet's order.

use futures_util::future::join_all;
use harness::cri::image_spec;
use proto::cri::{
    ImageStatusRequest, PodSandboxState, PodSandboxStatusRequest, StopContainerRequest,
    StopPodSandboxRequest,
};

use super::config::{self, NAME};
use super::relist::Seen;
use super::{Kubelet, Machine};
use crate::pod::{Container, Pod, Role, Source};

impl Kubelet {
    /// Runs a sandbox and asks for its addresses.
    pub(super) async fn make_sandbox(&self, pod: &Pod, attempt: u32) {
        let Machine { cri, tally, .. } = &self.machine;
        let config = match config::sandbox(&self.machine, pod, attempt) {
            Ok(config) => config,
            Err(error) => return tally.complain(format!("{error:?}")),
        };
        let Some(id) = tally.call("RunPodSandbox", cri.run_sandbox(&config)).await else {
            return;
        };
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: id,
            verbose: false,
        };
        let mut runtime = cri.runtime.clone();
        let asking = runtime.pod_sandbox_status(request);
        let Some(answer) = tally.call("PodSandboxStatus", asking).await else {
            return;
        };
        let network = answer.into_inner().status.and_then(|status| status.network);
        // The host's own addresses are the kubelet's to know.
        let own = pod.source == Source::Api;
        if own && network.is_none_or(|network| network.ip.is_empty()) {
            tally.complain(format!("the sandbox of pod {} has no address", pod.name));
        }
    }

    /// Creates and starts a container.
    pub(super) async fn start(
        &self,
        pod: &Pod,
        sandbox: &str,
        sandbox_attempt: u32,
        container: &Container,
        attempt: u32,
    ) {
        let Machine {
            cri, tally, image, ..
        } = &self.machine;
        let request = ImageStatusRequest {
            image: Some(image_spec(image)),
            verbose: false,
        };
        let mut images = cri.image.clone();
        let asking = images.image_status(request);
        let Some(there) = tally.call("ImageStatus", asking).await else {
            return;
        };
        if there.into_inner().image.is_none()
            && tally.call("PullImage", cri.pull(image)).await.is_none()
        {
            return;
        }
        let made = config::sandbox(&self.machine, pod, sandbox_attempt).and_then(|of| {
            Ok((
                of,
                config::container(&self.machine, pod, container, attempt)?,
            ))
        });
        let (of, config) = match made {
            Ok(made) => made,
            Err(error) => return tally.complain(format!("{error:?}")),
        };
        let creating = cri.create_container(sandbox, &config, &of);
        let Some(id) = tally.call("CreateContainer", creating).await else {
            return;
        };
        // What cannot be started is seen by the next look.
        tally.call("StartContainer", cri.start_container(&id)).await;
    }

    /// Stops all that runs of a pod: main containers at once, then sidecars backwards, then its
    /// sandboxes.
    pub(super) async fn end(&self, uid: &str, pod: Option<&Pod>, seen: &Seen) {
        let grace = pod.map_or(2, |pod| i64::try_from(pod.grace.as_secs()).unwrap_or(2));
        let role = |name: &str| {
            let found = pod.and_then(|pod| pod.containers.iter().find(|one| one.name == name));
            found.map_or(Role::Main, |one| one.role)
        };
        let (mut others, mut sidecars) = (Vec::new(), Vec::new());
        for (one, _) in seen.running() {
            let name = one.labels.get(NAME).cloned().unwrap_or_default();
            match role(&name) {
                Role::Sidecar => sidecars.push((one.created_at, one.id.clone())),
                Role::Init | Role::Main => others.push(one.id.clone()),
            }
        }
        join_all(others.iter().map(|id| self.stop(id, grace))).await;
        sidecars.sort_unstable();
        for (_, id) in sidecars.iter().rev() {
            self.stop(id, grace).await;
        }
        for sandbox in &seen.sandboxes {
            if sandbox.state() == PodSandboxState::SandboxReady {
                self.stop_sandbox(&sandbox.id).await;
            }
        }
        if seen.sandboxes.is_empty() {
            // Nothing but containers of a sandbox that is gone would be left.
            for (one, _) in &seen.containers {
                let text = format!("container {} of pod {uid} outlives its sandbox", one.id);
                self.machine.tally.complain(text);
            }
        }
    }

    async fn stop(&self, container: &str, grace: i64) {
        let request = StopContainerRequest {
            container_id: container.to_owned(),
            timeout: grace,
        };
        let mut runtime = self.machine.cri.runtime.clone();
        let stopping = runtime.stop_container(request);
        self.machine.tally.call("StopContainer", stopping).await;
    }

    pub(super) async fn stop_sandbox(&self, sandbox: &str) -> Option<()> {
        let request = StopPodSandboxRequest {
            pod_sandbox_id: sandbox.to_owned(),
        };
        let mut runtime = self.machine.cri.runtime.clone();
        let stopping = runtime.stop_pod_sandbox(request);
        self.machine
            .tally
            .call("StopPodSandbox", stopping)
            .await
            .map(drop)
    }
}
