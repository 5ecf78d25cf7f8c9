//! Every second: what there is, and the status of whatever has changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proto::cri::{
    Container, ContainerState, ContainerStatus, ContainerStatusRequest, ListContainersRequest,
    ListPodSandboxRequest, PodSandbox, PodSandboxState, PodSandboxStatusRequest,
};
use tonic::{Code, Status};

use super::config::{NAME, UID};
use super::{Kubelet, Machine};

/// How often it is looked.
const PERIOD: Duration = Duration::from_secs(1);

/// A pod as it was last seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Its sandboxes, the newest first.
    pub(crate) sandboxes: Vec<PodSandbox>,
    /// Its containers, the newest first.
    pub(crate) containers: Vec<(Container, ContainerStatus)>,
}

impl Seen {
    /// Returns the newest sandbox if it is ready.
    pub(crate) fn ready(&self) -> Option<&PodSandbox> {
        let newest = self.sandboxes.first();
        newest.filter(|sandbox| sandbox.state() == PodSandboxState::SandboxReady)
    }

    /// Returns the newest container of a name.
    pub(crate) fn newest(&self, name: &str) -> Option<&(Container, ContainerStatus)> {
        let of_name = |(one, _): &&(Container, ContainerStatus)| {
            one.labels.get(NAME).is_some_and(|label| label == name)
        };
        self.containers.iter().find(of_name)
    }

    /// Whether anything of it is still to be stopped.
    pub(crate) fn is_up(&self) -> bool {
        let ready = |one: &PodSandbox| one.state() == PodSandboxState::SandboxReady;
        self.sandboxes.iter().any(ready) || self.running().count() > 0
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &(Container, ContainerStatus)> {
        let runs = |(_, status): &&(Container, ContainerStatus)| {
            status.state() == ContainerState::ContainerRunning
        };
        self.containers.iter().filter(runs)
    }

    /// Whether a look finds what the last one found.
    fn is_as(&self, sandboxes: &[PodSandbox], containers: &[Container]) -> bool {
        let states = |list: &[Container]| -> Vec<_> {
            list.iter().map(|one| (one.id.clone(), one.state)).collect()
        };
        let known: Vec<Container> = self.containers.iter().map(|(one, _)| one.clone()).collect();
        self.sandboxes == sandboxes && states(&known) == states(containers)
    }
}

/// All pods by uid, also those that nobody wants any more.
pub(crate) type World = BTreeMap<String, Seen>;

impl Kubelet {
    /// Looks every second, for ever.
    pub(super) async fn relist(self: Arc<Self>) {
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.hurry.notified() => {}
            }
            // Whoever has changed something before this waits for it.
            let begun = self.clock.load(Ordering::SeqCst);
            let mut world = self.world.borrow().1.clone();
            if look(&self.machine, &mut world).await.is_some() {
                self.world.send_replace((begun, world));
            }
        }
    }
}

impl Kubelet {
    /// Waits for a look that begins now or later.
    pub(super) async fn look(&self) {
        let newer = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
        self.hurry.notify_one();
        let mut world = self.world.subscribe();
        // Fails only when nobody looks any more.
        drop(world.wait_for(|(begun, _)| *begun >= newer).await);
    }
}

/// Brings `world` up to date; `None` where the agent could not be asked.
async fn look(machine: &Machine, world: &mut World) -> Option<()> {
    let tally = &machine.tally;
    let mut runtime = machine.cri.runtime.clone();
    let request = ListPodSandboxRequest { filter: None };
    let sandboxes = tally
        .call("ListPodSandbox", runtime.list_pod_sandbox(request))
        .await?;
    let request = ListContainersRequest { filter: None };
    let containers = tally
        .call("ListContainers", runtime.list_containers(request))
        .await?;
    let mut found: BTreeMap<String, (Vec<PodSandbox>, Vec<Container>)> = BTreeMap::new();
    for sandbox in sandboxes.into_inner().items {
        let uid = sandbox.labels.get(UID).cloned().unwrap_or_default();
        found.entry(uid).or_default().0.push(sandbox);
    }
    for container in containers.into_inner().containers {
        let uid = container.labels.get(UID).cloned().unwrap_or_default();
        found.entry(uid).or_default().1.push(container);
    }
    world.retain(|uid, _| found.contains_key(uid));
    for (uid, (mut sandboxes, mut containers)) in found {
        sandboxes.sort_by_key(|one| std::cmp::Reverse(one.created_at));
        containers.sort_by_key(|one| {
            std::cmp::Reverse((
                one.created_at,
                one.metadata.as_ref().map(|metadata| metadata.attempt),
            ))
        });
        if world
            .get(&uid)
            .is_some_and(|seen| seen.is_as(&sandboxes, &containers))
        {
            continue;
        }
        let seen = inspect(machine, &uid, sandboxes, containers).await?;
        world.insert(uid, seen);
    }
    Some(())
}

/// Asks for the status of all that belongs to a pod.
async fn inspect(
    machine: &Machine,
    uid: &str,
    sandboxes: Vec<PodSandbox>,
    containers: Vec<Container>,
) -> Option<Seen> {
    let tally = &machine.tally;
    let mut runtime = machine.cri.runtime.clone();
    for sandbox in &sandboxes {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: sandbox.id.clone(),
            verbose: false,
        };
        tally
            .call(
                "PodSandboxStatus",
                there(runtime.pod_sandbox_status(request)),
            )
            .await?;
    }
    let mut seen = Seen {
        sandboxes,
        containers: Vec::new(),
    };
    for container in containers {
        let request = ContainerStatusRequest {
            container_id: container.id.clone(),
            verbose: false,
        };
        let answer = there(runtime.container_status(request));
        // Removed since it was listed.
        let Some(answer) = tally.call("ContainerStatus", answer).await? else {
            continue;
        };
        let Some(status) = answer.into_inner().status else {
            tally.complain(format!("container {} has no status", container.id));
            continue;
        };
        if status.state() == ContainerState::ContainerExited {
            let name = container.labels.get(NAME).cloned().unwrap_or_default();
            tally.ended(uid, &name, &status);
        }
        seen.containers.push((container, status));
    }
    Some(seen)
}

/// What was removed meanwhile is no failure.
async fn there<T>(call: impl Future<Output = Result<T, Status>>) -> Result<Option<T>, Status> {
    match call.await {
        Ok(answer) => Ok(Some(answer)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}
