//! The sandbox itself: up, down, gone.

use std::sync::Arc;

use agent_shim_client::{Events, ExitReport};
use agent_store::Durability;

use super::Actor;
use super::message::{Done, Reply};
use super::slot::answer;
use crate::event::{Action, Subject};
use crate::sandbox::ahead;
use crate::sandbox::create::{self, Joined, Live};
use crate::sandbox::error::{EndError, RunError, TeardownError};
use crate::sandbox::state::{SandboxEvent, SandboxPhase};
use crate::sandbox::stop::{Failed, Incomplete, Owned, kill_containers, tear_down};
use crate::sandbox::{recover, remove};

impl Actor {
    pub(super) fn bring_up(&mut self) {
        let (services, record) = (Arc::clone(&self.services), Arc::clone(&self.record));
        let joined = self.joined();
        self.spawn(async move {
            let result = match joined {
                Ok(joined) => create::bring_up(&services, &record, joined).await,
                Err(error) => Err(error.into()),
            };
            Done::Up(result.map(Box::new))
        });
    }

    /// Finds the network namespace of the container whose network this sandbox shares.
    pub(super) fn joined(&self) -> Result<Joined, RunError> {
        create::joined(&self.index, &self.record)
    }

    pub(super) fn came_up(&mut self, result: Result<Box<(Live, Events)>, Box<Failed<RunError>>>) {
        match result {
            Ok(up) => {
                let (live, events) = *up;
                self.stand(live, events);
                answer(&mut self.up_waiters, &Ok(()));
                if !self.stop_waiters.is_empty() || !self.remove_waiters.is_empty() {
                    self.take_down();
                }
            }
            Err(failed) => self.did_not_come_up(*failed),
        }
    }

    fn did_not_come_up(&mut self, failed: Failed<RunError>) {
        let Failed { error, left } = failed;
        self.move_on(SandboxEvent::WentDown);
        let undone = self.keep(left);
        if undone.is_ok() {
            // It never was: the name is free again, and nobody lists it.
            self.index.forget_sandbox(&self.record);
        }
        answer(&mut self.up_waiters, &Err(Arc::new(error)));
        answer(&mut self.stop_waiters, &undone);
        if undone.is_ok() {
            self.forget();
        } else {
            // Listed as not ready, so that whoever removes it has the rest undone.
            self.drive_removal();
        }
    }

    /// Takes over what was brought up.
    pub(super) fn stand(&mut self, live: Live, events: Events) {
        if live.is_bridged() {
            ahead::refill(&self.services, &self.record);
        }
        self.live = Some(Arc::new(live));
        self.shim_events = Some(events);
        self.leftover = None;
        self.move_on(SandboxEvent::CameUp);
        if !self.is_local() {
            self.tell(
                Subject::Sandbox,
                Action::Create,
                self.record.id.as_str(),
                Vec::new(),
            );
        }
    }

    pub(super) fn move_on(&mut self, event: SandboxEvent) {
        match self.phase.after(event) {
            Ok(phase) => self.phase = phase,
            Err(error) => {
                tracing::error!(sandbox_id = %self.record.id, error = %error, "sandbox event refused");
            }
        }
    }

    pub(super) fn wait_up(&mut self, reply: Reply<(), RunError>) {
        match self.phase {
            SandboxPhase::Creating => self.up_waiters.push(reply),
            SandboxPhase::Ready => drop(reply.send(Ok(()))),
            SandboxPhase::Stopping | SandboxPhase::NotReady | SandboxPhase::Removing => {
                let holder = self.record.id.clone();
                let name = self.record.spec.metadata.name.clone();
                drop(reply.send(Err(Arc::new(RunError::NameTaken { name, holder }))));
            }
        }
    }

    pub(super) fn stop(&mut self, reply: Reply<(), EndError>) {
        self.stop_waiters.push(reply);
        match self.phase {
            SandboxPhase::Ready => self.take_down(),
            SandboxPhase::NotReady if self.leftover.is_some() => self.take_down(),
            SandboxPhase::NotReady | SandboxPhase::Removing => {
                answer(&mut self.stop_waiters, &Ok(()));
            }
            SandboxPhase::Creating | SandboxPhase::Stopping => {}
        }
    }

    pub(super) fn end_leftover(&mut self, reply: Reply<(), EndError>) {
        if self.leftover.is_some() {
            self.stop(reply);
        } else {
            drop(reply.send(Ok(())));
        }
    }

    /// Ends every container and gives the network back.
    pub(super) fn take_down(&mut self) {
        self.move_on(SandboxEvent::StopAsked);
        self.phase = SandboxPhase::Stopping;
        let (services, record) = (Arc::clone(&self.services), Arc::clone(&self.record));
        let owned = self.owned();
        self.spawn(async move { Done::Down(tear_down(&services, &record, owned).await.err()) });
    }

    fn owned(&mut self) -> Owned {
        let mut owned = match (&self.live, self.leftover.take()) {
            (Some(live), _) => live.owned(),
            (None, Some(left)) => left.into(),
            (None, None) => Owned::default(),
        };
        owned.containers = self
            .slots
            .values()
            .map(|slot| slot.record.cgroup.clone())
            .collect();
        owned
    }

    pub(super) fn went_down(&mut self, left: Option<Incomplete>) {
        // What the shim said before it ended counts more than that it ended.
        while let Some(event) = self.shim_events.as_mut().and_then(crate::shim::heard) {
            if let agent_shim_client::ShimEvent::ContainerExited(report) = event {
                self.container_exited(report);
            }
        }
        self.shim_events = None;
        let (services, record) = (Arc::clone(&self.services), Arc::clone(&self.record));
        let unheard: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.is_running())
            .map(|(id, _)| id.clone())
            .collect();
        if unheard.is_empty() {
            self.is_down(left);
        } else {
            // The shim died on the way; what it wrote before counts.
            self.spawn(async move {
                let exits = recover::exit_reports(&services, &record.id, unheard).await;
                Done::Lost { exits, left }
            });
        }
    }

    fn is_down(&mut self, left: Option<Incomplete>) {
        self.move_on(SandboxEvent::WentDown);
        self.end_unseen("its shim ended before it could report");
        let result = self.keep(left);
        // Another try to give back what the first left is no second end.
        let stood = self.live.take().is_some();
        if stood && !self.is_local() {
            self.tell(
                Subject::Sandbox,
                Action::Stop,
                self.record.id.as_str(),
                Vec::new(),
            );
        }
        answer(&mut self.stop_waiters, &result);
        self.after_down();
    }

    /// Logs each failure once, and keeps what another try needs.
    pub(super) fn keep(&mut self, left: Option<Incomplete>) -> Result<(), Arc<EndError>> {
        let Some(Incomplete { failures, left }) = left else {
            return Ok(());
        };
        self.leftover = Some(left);
        for failure in &failures {
            tracing::warn!(sandbox_id = %self.record.id, error = %agent_telemetry::chain(failure), "sandbox teardown incomplete");
        }
        let id = self.record.id.clone();
        let first = failures.into_iter().next();
        let first = first.unwrap_or(TeardownError::Incomplete { id: id.clone() });
        Err(Arc::new(EndError::Teardown {
            id,
            source: Arc::new(first),
        }))
    }

    fn after_down(&mut self) {
        if !self.remove_waiters.is_empty() {
            self.drive_removal();
        } else if self.is_local() {
            self.after_run();
        }
    }

    /// The shim went away. Expected while the sandbox is being stopped, else its containers are lost.
    pub(super) fn shim_gone(&mut self) {
        if self.phase != SandboxPhase::Ready {
            return;
        }
        tracing::warn!(sandbox_id = %self.record.id, "shim died, ending its containers");
        self.phase = SandboxPhase::Stopping;
        let mut owned = self.owned();
        owned.shim = None;
        let (services, record) = (Arc::clone(&self.services), Arc::clone(&self.record));
        let containers: Vec<_> = self.slots.keys().cloned().collect();
        self.spawn(async move {
            // Their processes must be gone before anything else of theirs is.
            kill_containers(&services, owned.containers.clone()).await;
            let exits = recover::exit_reports(&services, &record.id, containers).await;
            let left = tear_down(&services, &record, owned).await.err();
            Done::Lost { exits, left }
        });
    }

    pub(super) fn was_lost(&mut self, exits: Vec<ExitReport>, left: Option<Incomplete>) {
        for report in exits {
            self.container_exited(report);
        }
        self.is_down(left);
    }

    pub(super) fn remove(&mut self, reply: Reply<(), EndError>) {
        self.remove_waiters.push(reply);
        match self.phase {
            SandboxPhase::Ready => self.take_down(),
            SandboxPhase::NotReady if self.leftover.is_some() => self.take_down(),
            SandboxPhase::NotReady | SandboxPhase::Removing => self.drive_removal(),
            SandboxPhase::Creating | SandboxPhase::Stopping => {}
        }
    }

    /// Removes the containers one and all, then the sandbox.
    pub(super) fn drive_removal(&mut self) {
        if self.remove_waiters.is_empty() || !self.creating.is_empty() {
            return;
        }
        if self.leftover.is_some() {
            // Records stay as long as something of it may still be there.
            let failed = self.report_leftover();
            answer(&mut self.remove_waiters, &failed);
            answer(&mut self.gone_waiters, &Ok(()));
            return;
        }
        self.move_on(SandboxEvent::RemoveAsked);
        let ids: Vec<_> = self.slots.keys().cloned().collect();
        if ids.is_empty() {
            self.forget();
        }
        for id in ids {
            self.clean_container(&id);
        }
    }

    fn report_leftover(&self) -> Result<(), Arc<EndError>> {
        Err(Arc::new(EndError::Teardown {
            id: self.record.id.clone(),
            source: Arc::new(TeardownError::Incomplete {
                id: self.record.id.clone(),
            }),
        }))
    }

    fn forget(&mut self) {
        self.phase = SandboxPhase::Removing;
        let (services, record) = (Arc::clone(&self.services), Arc::clone(&self.record));
        self.spawn(async move { Done::Forgotten(remove::forget(&services, &record).await) });
    }

    pub(super) fn forgotten(&mut self, result: Result<(), TeardownError>) {
        match result {
            Ok(()) => {
                if self.is_local() {
                    let container = agent_types::ContainerId::from(&self.record.id);
                    self.index.remove_container(&container);
                }
                self.index.forget_sandbox(&self.record);
                self.gone = true;
                if !self.is_local() {
                    self.tell(
                        Subject::Sandbox,
                        Action::Remove,
                        self.record.id.as_str(),
                        Vec::new(),
                    );
                }
                answer(&mut self.remove_waiters, &Ok(()));
            }
            Err(error) => {
                tracing::warn!(sandbox_id = %self.record.id, error = %agent_telemetry::chain(&error), "sandbox not removed");
                let error = Arc::new(EndError::Teardown {
                    id: self.record.id.clone(),
                    source: Arc::new(error),
                });
                answer(&mut self.remove_waiters, &Err(error));
            }
        }
        // What is left of the sandbox is told in the log; the container is gone.
        answer(&mut self.gone_waiters, &Ok(()));
    }

    /// Saves a container's state without waiting: a crash before it is written costs nothing,
    /// because the shim, or the file it leaves, says it again.
    pub(super) fn save_later(&self, id: &agent_types::ContainerId) {
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        let state = crate::container::spec::ContainerStateRecord {
            state: slot.state.clone(),
            user: slot.user.clone(),
            restarts: slot.again.count,
        };
        let saved = self
            .services
            .store
            .save_later(Durability::Unsynced, id.as_str(), &state);
        if let Err(error) = saved {
            tracing::error!(container_id = %id, error = %agent_telemetry::chain(&error), "container state not saved");
        }
    }
}
