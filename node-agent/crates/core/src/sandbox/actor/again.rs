//! Starting a person's container again by itself, once it has ended and its sandbox is down.

use std::sync::Arc;
use std::time::Duration;

use agent_types::ContainerId;

use super::Actor;
use super::message::{Message, Reply};
use super::slot::{Busy, Slot};
use crate::container::StopError;
use crate::container::restart::{self, RestartPolicy, Wish};
use crate::container::state::{ContainerState, Exit};
use crate::sandbox::create::durability;

/// What is remembered of starts by itself.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// How many there were since the last start by hand.
    pub(super) count: u32,
    /// The last wait.
    wait: Duration,
    /// The next one is due when its time has come.
    pub(super) waits: bool,
    /// The start under way was asked for by nobody.
    pub(super) under_way: bool,
    /// Tells the timer in force from earlier ones.
    generation: u64,
}

impl Again {
    /// Returns what is remembered after a restart of the agent.
    pub(super) fn after(count: u32) -> Self {
        Self {
            count,
            ..Self::default()
        }
    }

    fn forget_timer(&mut self) {
        self.waits = false;
        self.generation += 1;
    }
}

impl Slot {
    fn policy(&self) -> RestartPolicy {
        self.record.spec.restart
    }

    /// Says whether it is about to be started by itself, or is being; also while its sandbox
    /// goes down before that.
    pub(super) fn is_restarting(&self) -> bool {
        self.again.waits
            || (self.again.under_way && self.busy == Some(Busy::Starting))
            || self.wants_again().is_some()
    }

    /// Returns how it ended, if it did so that it is to be started again.
    fn wants_again(&self) -> Option<&Exit> {
        let ContainerState::Exited(exit) = &self.state else {
            return None;
        };
        let restarts = self
            .policy()
            .restarts(self.record.wish, exit, self.again.count);
        (restarts && self.busy.is_none()).then_some(exit)
    }
}

impl Actor {
    /// Notes what a person asks of a container, durably where it has a policy, and answers then.
    pub(super) fn wish(&mut self, id: &ContainerId, wish: Wish, reply: Reply<(), StopError>) {
        let Some(slot) = self.slots.get_mut(id) else {
            let id = id.to_string();
            drop(reply.send(Err(Arc::new(StopError::NotFound { id }))));
            return;
        };
        slot.again.forget_timer();
        if wish == Wish::Run {
            slot.again = Again {
                generation: slot.again.generation,
                ..Again::default()
            };
        }
        let saving = self.note_wish(id, wish);
        let id = id.clone();
        tokio::spawn(async move {
            let saved = match saving {
                Some(saving) => saving.await,
                None => Ok(()),
            };
            let saved = saved.map_err(|source| Arc::new(StopError::Save { id, source }));
            // A caller that went away does not need the answer.
            drop(reply.send(saved));
        });
    }

    /// Puts a wish into a container's record, and returns what waits until it is written.
    fn note_wish(
        &mut self,
        id: &ContainerId,
        wish: Wish,
    ) -> Option<impl Future<Output = Result<(), agent_store::SaveError>> + Send + use<>> {
        let slot = self.slots.get_mut(id)?;
        if slot.record.wish == wish || slot.policy() == RestartPolicy::Never {
            return None;
        }
        let mut record = slot.record.as_ref().clone();
        record.wish = wish;
        let store = &self.services.store;
        let durability = durability(self.record.spec.owner);
        let saving = store.save_in_turn(durability, id.as_str(), &record);
        slot.record = Arc::new(record);
        match saving {
            Ok(saving) => Some(saving),
            Err(error) => {
                tracing::error!(container_id = %id, error = %agent_telemetry::chain(&error), "container record not saved");
                None
            }
        }
    }

    /// A start that somebody asked for has failed, and was told so: it is not tried again.
    pub(super) fn give_up(&mut self, id: &ContainerId) {
        if let Some(saving) = self.note_wish(id, Wish::Nothing) {
            tokio::spawn(saving);
        }
    }

    /// Decides on a container that has ended and whose sandbox is down.
    pub(super) fn consider_again(&mut self, id: &ContainerId) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let Some(exit) = slot.wants_again().filter(|_| !slot.again.waits) else {
            return;
        };
        slot.again.wait = restart::wait(slot.again.wait, exit);
        slot.again.count = slot.again.count.saturating_add(1);
        self.start_later(id);
        self.save_later(id);
    }

    /// Takes up what was to run when the agent ended: those that have ended meanwhile, and after
    /// a power cut those of which nobody knows how they ended.
    pub(super) fn revive(&mut self) {
        let ids: Vec<_> = self.slots.keys().cloned().collect();
        for id in ids {
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            let wish = slot.policy().wish_after_start(slot.record.wish);
            if wish != slot.record.wish {
                // For this run of the agent only: the next one comes to the same.
                let mut record = slot.record.as_ref().clone();
                record.wish = wish;
                slot.record = Arc::new(record);
            }
            if slot.is_running() || self.leftover.is_some() {
                // Its end, or that of what it left, comes first.
                continue;
            }
            let lost = slot.state == ContainerState::Created && wish == Wish::Run;
            if lost && slot.policy() != RestartPolicy::Never {
                self.start_later(&id);
            } else {
                self.consider_again(&id);
            }
        }
    }

    fn start_later(&mut self, id: &ContainerId) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        slot.again.forget_timer();
        slot.again.waits = true;
        let (generation, wait) = (slot.again.generation, slot.again.wait);
        let message = Message::Again {
            container: id.clone(),
            generation,
        };
        tracing::debug!(container_id = %id, count = slot.again.count, elapsed_ms = wait.as_millis(), "container waits for its restart");
        self.send_later(wait, message);
    }

    /// The wait is over.
    pub(super) fn again(&mut self, id: &ContainerId, generation: u64) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        if !slot.again.waits || slot.again.generation != generation || slot.busy.is_some() {
            return;
        }
        slot.again.waits = false;
        tracing::info!(container_id = %id, count = slot.again.count, "container is started again");
        self.start_local(id);
    }
}
