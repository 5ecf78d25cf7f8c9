//! The containers of a sandbox: stopped, removed. Creating is in [`super::create`], starting in [`super::start`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_shim_client::{Attach, Attachment, ExitReport, RequestError, SignalTarget};
use agent_types::{ContainerId, Owner};
use tokio::sync::oneshot;

use super::Actor;
use super::message::{Done, Message, Removal, Reply};
use super::slot::{Adopted, Busy, Slot, Stopping, answer};
use crate::container::state::{ContainerEvent, ContainerState, Exit, ExitReason};
use crate::container::{AttachError, Change, RemoveError, StopError, UpdateError, remove};
use crate::event::{Action, Subject};
use crate::sandbox::create::durability;
use crate::sandbox::error::EndError;
use crate::sandbox::state::SandboxPhase;
use crate::time::Timestamp;

/// SIGKILL.
const KILL: i32 = 9;

impl Actor {
    pub(super) fn adopt(&mut self, containers: Vec<Adopted>) {
        for adopted in containers {
            self.insert(adopted);
        }
    }

    pub(super) fn insert(&mut self, adopted: Adopted) {
        let id = adopted.record.id.clone();
        self.index.add_container(&id, &self.record.id);
        self.order.push(id.clone());
        self.slots.insert(id, Slot::new(adopted));
    }

    pub(super) fn stop_container(
        &mut self,
        id: &ContainerId,
        signal: Option<i32>,
        grace: Duration,
        reply: Reply<(), StopError>,
    ) {
        let Some(slot) = self.slots.get_mut(id) else {
            let id = id.to_string();
            drop(reply.send(Err(Arc::new(StopError::NotFound { id }))));
            return;
        };
        let starting = slot.busy == Some(Busy::Starting);
        if !slot.is_running() && !starting {
            drop(reply.send(Ok(())));
            return;
        }
        slot.stop_waiters.push(reply);
        let deadline = Instant::now() + grace;
        let signal = signal.unwrap_or(slot.record.stop_signal);
        let generation = match &mut slot.stopping {
            // A later stop may only shorten an earlier one.
            Some(stopping) if stopping.deadline <= deadline => return,
            Some(stopping) => {
                stopping.deadline = deadline;
                stopping.generation += 1;
                stopping.generation
            }
            None => {
                slot.stopping = Some(Stopping {
                    deadline,
                    generation: 0,
                    killed: false,
                });
                if !starting && !grace.is_zero() {
                    self.signal(id, signal, false);
                }
                0
            }
        };
        self.start_timer(id, generation, grace);
    }

    fn start_timer(&self, id: &ContainerId, generation: u64, grace: Duration) {
        let message = Message::Deadline {
            container: id.clone(),
            generation,
        };
        self.send_later(grace, message);
    }

    /// Sends this task a message after some time.
    pub(super) fn send_later(&self, after: Duration, message: Message) {
        let own = self.own.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            // The task is gone when the sandbox is.
            drop(own.send(message).await);
        });
    }

    pub(super) fn deadline(&mut self, id: &ContainerId, generation: u64) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let running = slot.is_running();
        if let Some(stopping) = &mut slot.stopping
            && stopping.generation == generation
            && !stopping.killed
            && running
        {
            stopping.killed = true;
            self.signal(id, KILL, true);
        }
    }

    /// Sends a signal without waiting for the shim's answer; the container's end is what counts.
    pub(super) fn signal(&self, id: &ContainerId, signal: i32, all: bool) {
        let Some(live) = self.live.clone() else {
            return;
        };
        let id = id.clone();
        tokio::spawn(async move {
            let target = if all {
                SignalTarget::All
            } else {
                SignalTarget::First
            };
            if let Err(error) = live.shim.signal_container(&id, signal, target).await
                && !matches!(error, RequestError::Gone)
            {
                tracing::debug!(container_id = %id, signal, error = %agent_telemetry::chain(&error), "signal not delivered");
            }
        });
    }

    pub(super) fn container_exited(&mut self, report: ExitReport) {
        let id = report.id.clone();
        let exit = exit_of(&report);
        if report.dropped_log_lines > 0 {
            tracing::warn!(container_id = %id, lines = report.dropped_log_lines, "log lines dropped, the disk was full");
        }
        self.end(&id, exit);
    }

    pub(super) fn end(&mut self, id: &ContainerId, exit: Exit) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        if matches!(slot.state, ContainerState::Exited(_)) {
            return;
        }
        match slot.state.after(ContainerEvent::Exited(exit)) {
            Ok(state) => slot.state = state,
            Err(error) => {
                tracing::error!(container_id = %id, error = %error, "container event refused");
            }
        }
        slot.stopping = None;
        slot.pid = 0;
        let ContainerState::Exited(exit) = slot.state.clone() else {
            return;
        };
        for waiter in slot.exit_waiters.drain(..) {
            // A caller that went away does not need the answer.
            drop(waiter.send(exit.clone()));
        }
        let mut stop_waiters = std::mem::take(&mut slot.stop_waiters);
        self.save_later(id);
        self.tell_container(
            id,
            Action::Exit,
            vec![
                ("exit_code", exit.code.to_string()),
                ("reason", exit.reason.as_str().to_owned()),
            ],
        );
        self.publish();
        answer(&mut stop_waiters, &Ok(()));
        self.after_exit(id);
    }

    fn after_exit(&mut self, id: &ContainerId) {
        if self.is_local() {
            // Its namespaces and address are given back; another start makes new ones.
            if self.phase == SandboxPhase::Ready && !self.is_starting() {
                self.take_down();
            }
        } else if self
            .slots
            .get(id)
            .is_some_and(|slot| !slot.remove_waiters.is_empty())
        {
            self.clean_container(id);
        }
    }

    fn is_starting(&self) -> bool {
        self.slots
            .values()
            .any(|slot| slot.busy == Some(Busy::Starting))
    }

    /// Ends in the books what nobody saw end.
    pub(super) fn end_unseen(&mut self, why: &str) {
        let lost: Vec<_> = self
            .slots
            .iter()
            .filter_map(|(id, slot)| match slot.state {
                ContainerState::Running { started_at, .. } => Some((id.clone(), started_at)),
                ContainerState::Created | ContainerState::Exited(_) => None,
            })
            .collect();
        for (id, started_at) in lost {
            self.end(&id, Exit::unseen(Some(started_at), why));
        }
    }

    pub(super) fn remove_container(
        &mut self,
        id: &ContainerId,
        removal: Removal,
        reply: Reply<(), RemoveError>,
    ) {
        let Some(slot) = self.slots.get_mut(id) else {
            if self.is_local() && self.phase == SandboxPhase::Removing {
                self.gone_waiters.push(reply);
                return;
            }
            let id = id.to_string();
            drop(reply.send(Err(Arc::new(RemoveError::NotFound { id }))));
            return;
        };
        if slot.is_restarting() && removal == Removal::Ended {
            let id = id.clone();
            drop(reply.send(Err(Arc::new(RemoveError::Restarting { id }))));
            return;
        }
        let active = slot.is_running() || slot.busy == Some(Busy::Starting);
        if active && removal == Removal::Ended {
            let id = id.clone();
            drop(reply.send(Err(Arc::new(RemoveError::Running { id }))));
            return;
        }
        slot.remove_waiters.push(reply);
        if slot.is_running() {
            self.signal(id, KILL, true);
        } else {
            self.clean_container(id);
        }
    }

    /// Removes what an ended container left, unless that is under way.
    pub(super) fn clean_container(&mut self, id: &ContainerId) {
        let busy_with_down = self.is_local() && self.phase == SandboxPhase::Stopping;
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        if slot.busy.is_some() || slot.is_running() || busy_with_down {
            return;
        }
        slot.busy = Some(Busy::Cleaning);
        let (services, sandbox) = (Arc::clone(&self.services), Arc::clone(&self.record));
        let (record, live) = (Arc::clone(&slot.record), self.live.clone());
        let id = id.clone();
        self.spawn(async move {
            let result = remove::clean(&services, &sandbox, &record, live.as_deref()).await;
            Done::Cleaned(id, result)
        });
    }

    pub(super) fn cleaned(&mut self, id: &ContainerId, result: Result<(), RemoveError>) {
        match result {
            Ok(()) => {
                let attributes = self.attributes_of(id, Vec::new());
                let slot = self.slots.remove(id);
                self.order.retain(|other| other != id);
                self.tell(Subject::Container, Action::Remove, id.as_str(), attributes);
                let mut waiters = slot.map(|slot| slot.remove_waiters).unwrap_or_default();
                if self.is_local() {
                    // The sandbox of a person's container goes with it, and then only is its name
                    // free: until then it is found, and waited for.
                    let (reply, _) = oneshot::channel();
                    self.remove_waiters.push(reply);
                    self.gone_waiters.append(&mut waiters);
                } else {
                    self.index.remove_container(id);
                }
                self.publish();
                answer(&mut waiters, &Ok(()));
                if self.slots.is_empty() {
                    self.drive_removal();
                }
            }
            Err(error) => {
                tracing::warn!(container_id = %id, error = %agent_telemetry::chain(&error), "container not removed");
                let error = Arc::new(error);
                if let Some(slot) = self.slots.get_mut(id) {
                    slot.busy = None;
                    answer(&mut slot.remove_waiters, &Err(Arc::clone(&error)));
                }
                let ended = Err(Arc::new(EndError::Container {
                    id: self.record.id.clone(),
                    source: error,
                }));
                answer(&mut self.remove_waiters, &ended);
            }
        }
    }

    pub(super) fn wait_container(&mut self, id: &ContainerId, reply: oneshot::Sender<Exit>) {
        // Without a container the reply is dropped, which the caller takes for "gone".
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        match &slot.state {
            ContainerState::Exited(exit) if slot.busy != Some(Busy::Starting) => {
                drop(reply.send(exit.clone()));
            }
            _ => slot.exit_waiters.push(reply),
        }
    }

    pub(super) fn attach(
        &mut self,
        id: &ContainerId,
        streams: Attach,
        reply: Reply<Attachment, AttachError>,
    ) {
        let Some(slot) = self.slots.get_mut(id) else {
            let id = id.to_string();
            drop(reply.send(Err(Arc::new(AttachError::NotFound { id }))));
            return;
        };
        // A person's container may be started again; its clients wait for that.
        if !self.record.spec.owner.eq(&Owner::Local)
            && matches!(slot.state, ContainerState::Exited(_))
        {
            let id = id.clone();
            drop(reply.send(Err(Arc::new(AttachError::NotRunning { id }))));
            return;
        }
        match self.live.clone() {
            Some(live) if slot.pid != 0 => {
                let id = id.clone();
                tokio::spawn(async move {
                    let result = live.shim.attach(&id, streams).await;
                    let result =
                        result.map_err(|source| Arc::new(AttachError::Shim { id, source }));
                    drop(reply.send(result));
                });
            }
            // It is connected once the container is set up, before its program runs.
            _ => slot.attaches.push((streams, reply)),
        }
    }

    /// Merges a change into the record as it is by now, and has it saved; one that is being
    /// removed is not written again.
    pub(super) fn change(
        &mut self,
        id: &ContainerId,
        change: Change,
        reply: Reply<(), UpdateError>,
    ) {
        let slot = self.slots.get_mut(id);
        let Some(slot) = slot.filter(|slot| slot.busy != Some(Busy::Cleaning)) else {
            let id = id.to_string();
            let source = StopError::NotFound { id };
            drop(reply.send(Err(Arc::new(UpdateError::Find { source }))));
            return;
        };
        let mut record = slot.record.as_ref().clone();
        change.merge_into(&mut record.spec);
        let store = &self.services.store;
        let durability = durability(self.record.spec.owner);
        let saving = store.save_in_turn(durability, id.as_str(), &record);
        slot.record = Arc::new(record);
        self.publish();
        let id = id.clone();
        tokio::spawn(async move {
            let saved = match saving {
                Ok(saving) => saving.await,
                Err(error) => Err(error),
            };
            let saved = saved.map_err(|source| Arc::new(UpdateError::Save { id, source }));
            // A caller that went away does not need the answer.
            drop(reply.send(saved));
        });
    }
}

/// Turns what the shim reports into how a container ended.
pub(crate) fn exit_of(report: &ExitReport) -> Exit {
    let started_at = report.started_at.map(Timestamp::from);
    let finished_at = Timestamp::from(report.finished_at);
    if let Some(error) = &report.start_error {
        return Exit {
            code: 128,
            reason: ExitReason::StartError,
            message: error.clone(),
            started_at: None,
            finished_at,
        };
    }
    let reason = match (report.oom_killed, report.exit_code) {
        (true, _) => ExitReason::OomKilled,
        (false, 0) => ExitReason::Completed,
        (false, _) => ExitReason::Error,
    };
    Exit {
        code: report.exit_code,
        reason,
        message: String::new(),
        started_at,
        finished_at,
    }
}
