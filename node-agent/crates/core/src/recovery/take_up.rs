//! One sandbox of the records: found, and taken up again, ended in the books, or undone.

use std::sync::Arc;

use agent_shim_client::{ConnectError, Events, Ready, Shim};
use agent_types::Owner;

use super::Recovered;
use super::classify::{self, Survivor};
use super::records::{Known, KnownContainer};
use crate::container::remove as container_remove;
use crate::container::set_up::template;
use crate::container::state::ContainerState;
use crate::node::Node;
use crate::sandbox::actor::message::{Command, Message};
use crate::sandbox::actor::{self, Adopted, Beginning};
use crate::sandbox::create::Live;
use crate::sandbox::recover::exit_reports;
use crate::sandbox::remove;
use crate::sandbox::spec::SandboxStateRecord;
use crate::sandbox::state::SandboxPhase;
use crate::sandbox::stop::{Incomplete, Owned, tear_down};
use crate::services::Services;

/// A sandbox of the records, and its shim where that answers.
pub(super) struct Found {
    pub(super) known: Known,
    pub(super) shim: Option<(Shim, Ready, Events)>,
}

/// Looks for the shim of a sandbox that may still stand.
pub(super) async fn look(services: &Services, known: Known, rebooted: bool) -> Found {
    let phase = known.state.as_ref().map(|state| state.phase);
    let may_run = !rebooted && phase == Some(SandboxPhase::Ready);
    let shim = if may_run {
        let directory = services.paths().sandbox(&known.record.id);
        match Shim::connect(&directory).await {
            Ok((shim, ready)) => shim.events().map(|events| (shim, ready, events)),
            Err(ConnectError::Absent { .. }) => None,
            Err(error) => {
                tracing::error!(sandbox_id = %known.record.id, error = %agent_telemetry::chain(&error), "shim does not answer");
                None
            }
        }
    } else {
        None
    };
    Found { known, shim }
}

/// Gives a sandbox its task back, or undoes it.
pub(super) async fn take_up(node: &Node, found: Found, rebooted: bool, recovered: &mut Recovered) {
    let Found { known, shim } = found;
    let owner = known.record.spec.owner;
    let half_made = match owner {
        Owner::Cri => known
            .state
            .as_ref()
            .is_none_or(|state| state.phase == SandboxPhase::Creating),
        // It has one container, made with it and removed before it.
        Owner::Local => known.containers.iter().all(|one| one.state.is_none()),
    };
    if half_made {
        if known
            .state
            .as_ref()
            .is_some_and(|state| state.cni.is_some())
        {
            undo_later(node, known).await;
        } else {
            undo(node, known).await;
        }
        recovered.undone += 1;
        return;
    }
    match shim {
        Some((shim, ready, events)) => {
            recovered.running += 1;
            resume(node, known, shim, ready, events).await;
        }
        None => {
            recovered.resting += 1;
            rest(node, known, rebooted).await;
        }
    }
}

/// Undoes a sandbox whose making was cut short; nobody was ever told its id.
async fn undo(node: &Node, known: Known) {
    let services = &node.services;
    for container in &known.containers {
        drop_container(services, &known.record, container, None).await;
    }
    let owned = known.state.map(Owned::from).unwrap_or_default();
    if let Err(Incomplete { failures, left }) = tear_down(services, &known.record, owned).await {
        for failure in failures {
            tracing::warn!(sandbox_id = %known.record.id, error = %agent_telemetry::chain(&failure), "half-made sandbox not undone");
        }
        // Listed as not ready, so that whoever removes it has the rest undone.
        let beginning = Beginning::Resting {
            leftover: Some(left),
            containers: Vec::new(),
        };
        add(node, &known.record, beginning);
        return;
    }
    if let Err(error) = remove::forget(services, &known.record).await {
        tracing::warn!(sandbox_id = %known.record.id, error = %agent_telemetry::chain(&error), "half-made sandbox not forgotten");
    }
}

/// Has a sandbox undone whose making was cut short, by a task of its own: plugins may take long,
/// and the node does not wait for them before it serves.
async fn undo_later(node: &Node, known: Known) {
    let beginning = Beginning::Resting {
        leftover: known.state,
        containers: Vec::new(),
    };
    if let Some(handle) = add(node, &known.record, beginning) {
        let (reply, _) = tokio::sync::oneshot::channel();
        // The queue is empty and the task has just begun.
        let removal = Message::from(Command::Remove { reply });
        drop(handle.commands.send(removal).await);
    }
}

/// Gives a sandbox that stands its task back.
async fn resume(node: &Node, known: Known, shim: Shim, ready: Ready, events: Events) {
    let services = &node.services;
    let state = known.state.unwrap_or(SandboxStateRecord {
        phase: SandboxPhase::Ready,
        attachment: None,
        cni: None,
        cgroup: None,
    });
    let Some(cgroup) = state.cgroup else {
        tracing::error!(sandbox_id = %known.record.id, "sandbox record names no cgroup");
        return;
    };
    let live = Live {
        shim,
        shim_pid: ready.pid,
        shim_process: Arc::new(ready.pidfd),
        netns: ready.netns,
        user_namespace: ready.user_namespace.map(Arc::new),
        attachment: state.attachment,
        cni: state.cni,
        cgroup,
        counters: std::sync::Mutex::default(),
    };
    let mut containers = Vec::new();
    for container in known.containers {
        let report = ready
            .containers
            .iter()
            .find(|report| report.id == container.record.id);
        let owner = known.record.spec.owner;
        let state = container.state.as_ref().filter(|state| {
            report.is_some() || owner == Owner::Local || state.state != ContainerState::Created
        });
        let Some(state) = state else {
            // Its creation or its removal was cut short; nobody was ever told its id, or
            // somebody wants it gone.
            drop_container(services, &known.record, &container, Some(&live)).await;
            continue;
        };
        let survivor = classify::with_shim(&state.state, report, known.record.spec.owner);
        containers.push(adopt(services, &known.record, container, survivor));
    }
    let beginning = Beginning::Running {
        live: Box::new(live),
        events,
        containers,
    };
    add(node, &known.record, beginning);
}

async fn drop_container(
    services: &Arc<Services>,
    sandbox: &Arc<crate::sandbox::spec::SandboxRecord>,
    container: &KnownContainer,
    live: Option<&Live>,
) {
    let id = &container.record.id;
    if let Some(live) = live {
        // It may be waiting for its start; it must be gone before its layer is.
        drop(
            live.shim
                .signal_container(id, 9, agent_shim_client::SignalTarget::All)
                .await,
        );
    }
    if let Err(error) = container_remove::clean(services, sandbox, &container.record, live).await {
        tracing::warn!(container_id = %id, error = %agent_telemetry::chain(&error), "half-made container not removed");
    }
}

fn adopt(
    services: &Services,
    sandbox: &crate::sandbox::spec::SandboxRecord,
    container: KnownContainer,
    survivor: Survivor,
) -> Adopted {
    let template = if survivor.pid == 0 {
        None
    } else {
        match template(services, sandbox, &container.record) {
            Ok(template) => Some(Arc::new(template)),
            Err(error) => {
                tracing::warn!(container_id = %container.record.id, error = %agent_telemetry::chain(&error), "exec will not work");
                None
            }
        }
    };
    let restarts = container.state.as_ref().map_or(0, |state| state.restarts);
    Adopted {
        restarts,
        user: container.state.and_then(|state| state.user),
        record: container.record,
        state: survivor.state,
        pid: survivor.pid,
        template,
    }
}

/// Gives a sandbox that does not stand its task back, and has what is left of it ended.
async fn rest(node: &Node, known: Known, rebooted: bool) {
    let services = &node.services;
    let owner = known.record.spec.owner;
    let ids = known
        .containers
        .iter()
        .map(|container| container.record.id.clone())
        .collect();
    let exits = if rebooted {
        Vec::new()
    } else {
        exit_reports(services, &known.record.id, ids).await
    };
    let mut containers = Vec::new();
    for container in known.containers {
        let Some(state) = &container.state else {
            drop_container(services, &known.record, &container, None).await;
            continue;
        };
        let exit = exits.iter().find(|exit| exit.id == container.record.id);
        let survivor = classify::without_shim(&state.state, exit, owner, rebooted);
        containers.push(adopt(services, &known.record, container, survivor));
    }
    let stood = known
        .state
        .as_ref()
        .is_some_and(|state| state.phase != SandboxPhase::NotReady);
    let unfinished = known.state.filter(|state| stood || state.owns_anything());
    let ends = unfinished.is_some();
    let beginning = Beginning::Resting {
        leftover: unfinished,
        containers,
    };
    if let Some(handle) = add(node, &known.record, beginning)
        && ends
    {
        let (reply, _) = tokio::sync::oneshot::channel();
        // The queue is empty and the task has just begun.
        let end = Message::from(Command::EndLeftover { reply });
        drop(handle.commands.send(end).await);
    }
}

fn add(
    node: &Node,
    record: &Arc<crate::sandbox::spec::SandboxRecord>,
    beginning: Beginning,
) -> Option<actor::SandboxHandle> {
    let (services, index) = (Arc::clone(&node.services), Arc::clone(&node.index));
    // The index is taken by the task's first steps as well; it must not be held here.
    let handle = actor::spawn(services, index, Arc::clone(record), beginning);
    match node.index.add_sandbox(record, || handle.clone()) {
        Ok(handle) => Some(handle),
        Err(holder) => {
            tracing::error!(sandbox_id = %record.id, holder = %holder.record.id, "two records have one name");
            None
        }
    }
}
