//! Garbage: containers that have ended, sandboxes of nothing, logs and images of nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::cri::{
    ContainerState, ListContainersRequest, ListImagesRequest, ListPodSandboxRequest,
    PodSandboxState, RemoveContainerRequest, RemovePodSandboxRequest,
};

use super::config::{NAME, UID};
use super::relist::World;
use super::{Kubelet, Machine, lock, rotate};

/// How often it is collected; a kubelet's containers a minute, its images five.
const PERIOD: Duration = Duration::from_secs(4);

impl Kubelet {
    /// Collects, for ever.
    pub(super) async fn collect(self: Arc<Self>) {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            self.collect_now().await;
        }
    }

    /// Collects once.
    pub(crate) async fn collect_now(&self) {
        // A container that was not seen yet has a state that nobody knows of yet.
        let world = self.world.borrow().1.clone();
        self.containers(&world).await;
        self.sandboxes().await;
        self.logs(&world);
        self.images().await;
    }

    fn wanted(&self) -> BTreeSet<String> {
        lock(&self.wanted).keys().cloned().collect()
    }

    /// Removes containers that have ended: of a pod that is wanted, all but the newest of a name.
    async fn containers(&self, world: &World) {
        let Machine { cri, tally, .. } = &self.machine;
        let wanted = self.wanted();
        for (uid, seen) in world {
            let mut kept = BTreeSet::new();
            for (one, status) in &seen.containers {
                let name = one.labels.get(NAME).cloned().unwrap_or_default();
                let newest = kept.insert(name);
                let over = status.state() == ContainerState::ContainerExited;
                if !over || (newest && wanted.contains(uid)) {
                    continue;
                }
                let request = RemoveContainerRequest {
                    container_id: one.id.clone(),
                };
                let removing = cri.runtime.clone();
                let call = async { removing.clone().remove_container(request).await };
                if tally.call("RemoveContainer", call).await.is_some() {
                    let log = PathBuf::from(&status.log_path);
                    rotate::read(&self.machine, &log.with_extension("log.rotated"), &log);
                    rotate::read(&self.machine, &log, &log);
                    drop(std::fs::remove_file(&log));
                    drop(std::fs::remove_file(log.with_extension("log.rotated")));
                }
            }
        }
    }

    /// Removes sandboxes that are not ready and hold no container: of a pod that is wanted, all
    /// but the newest.
    async fn sandboxes(&self) {
        let Machine { cri, tally, .. } = &self.machine;
        let mut runtime = cri.runtime.clone();
        let request = ListPodSandboxRequest { filter: None };
        let Some(list) = tally
            .call("ListPodSandbox", runtime.list_pod_sandbox(request))
            .await
        else {
            return;
        };
        let request = ListContainersRequest { filter: None };
        let Some(held) = tally
            .call("ListContainers", runtime.list_containers(request))
            .await
        else {
            return;
        };
        let held: BTreeSet<String> = held
            .into_inner()
            .containers
            .into_iter()
            .map(|one| one.pod_sandbox_id)
            .collect();
        let mut by_pod: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for sandbox in list.into_inner().items {
            let uid = sandbox.labels.get(UID).cloned().unwrap_or_default();
            by_pod.entry(uid).or_default().push(sandbox);
        }
        let wanted = self.wanted();
        for (uid, mut sandboxes) in by_pod {
            sandboxes.sort_by_key(|one| std::cmp::Reverse(one.created_at));
            let kept = usize::from(wanted.contains(&uid));
            for sandbox in sandboxes.into_iter().skip(kept) {
                let ready = sandbox.state() == PodSandboxState::SandboxReady;
                if ready
                    || held.contains(&sandbox.id)
                    || self.stop_sandbox(&sandbox.id).await.is_none()
                {
                    continue;
                }
                let request = RemovePodSandboxRequest {
                    pod_sandbox_id: sandbox.id,
                };
                tally
                    .call("RemovePodSandbox", runtime.remove_pod_sandbox(request))
                    .await;
            }
        }
    }

    /// Removes the log directories of pods that are neither wanted nor there.
    fn logs(&self, world: &World) {
        let wanted = self.wanted();
        let Ok(entries) = std::fs::read_dir(&self.machine.logs) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let uid = uid_of(&path);
            if !wanted.contains(&uid) && !world.contains_key(&uid) {
                drop(std::fs::remove_dir_all(&path));
            }
        }
    }

    /// Removes images that no container uses.
    async fn images(&self) {
        let Machine {
            cri, tally, image, ..
        } = &self.machine;
        let mut images = cri.image.clone();
        let request = ListImagesRequest { filter: None };
        let Some(list) = tally.call("ListImages", images.list_images(request)).await else {
            return;
        };
        for one in list.into_inner().images {
            let used = one.repo_tags.iter().any(|tag| tag == image);
            if !used && !one.pinned {
                tally.call("RemoveImage", cri.remove_image(&one.id)).await;
            }
        }
    }
}

/// Returns the uid in the name of a pod's log directory.
fn uid_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit('_').next().unwrap_or_default().to_owned()
}
