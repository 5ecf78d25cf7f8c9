//! Starting containers. A kubelet's is set up already and only released; a person's is given its
//! namespaces, network and processes here.

use std::sync::Arc;
use std::time::SystemTime;

use agent_types::ContainerId;

use super::Actor;
use super::message::{Done, Reply, StartedLocal};
use super::slot::{Busy, PendingAttach, answer};
use crate::container::create::Made;
use crate::container::state::{ContainerEvent, ContainerState, Exit, ExitReason};
use crate::container::{AttachError, CreateError, StartError, set_up};
use crate::event::Action;
use crate::metrics::Phase;
use crate::sandbox::create::{Joined, Live, bring_up};
use crate::sandbox::error::RunError;
use crate::sandbox::state::{SandboxEvent, SandboxPhase};
use crate::sandbox::stop::{Failed, tear_down};
use crate::shim;
use crate::time::Timestamp;

impl Actor {
    pub(super) fn start_container(&mut self, id: &ContainerId, reply: Reply<(), StartError>) {
        let local = self.is_local();
        let Some(slot) = self.slots.get_mut(id) else {
            let id = id.to_string();
            drop(reply.send(Err(Arc::new(StartError::NotFound { id }))));
            return;
        };
        match slot.busy {
            Some(Busy::Starting) => {
                slot.start_waiters.push(reply);
                return;
            }
            Some(Busy::Cleaning) => {
                let id = id.clone();
                drop(reply.send(Err(Arc::new(StartError::Going { id }))));
                return;
            }
            None => {}
        }
        if local && slot.is_running() {
            drop(reply.send(Ok(())));
            return;
        }
        let refused = if local {
            slot.state.after(ContainerEvent::Reset).err()
        } else {
            let probe = ContainerEvent::Started {
                pid: slot.pid,
                at: Timestamp::default(),
            };
            slot.state.after(probe).err()
        };
        if let Some(source) = refused {
            let id = id.clone();
            drop(reply.send(Err(Arc::new(StartError::State { id, source }))));
            return;
        }
        slot.start_waiters.push(reply);
        if local {
            self.start_local(id);
        } else {
            self.release(id);
        }
    }

    /// Lets a container that was set up run its program.
    fn release(&mut self, id: &ContainerId) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let Some(live) = self.live.clone() else {
            let going = StartError::Going { id: id.clone() };
            answer(&mut slot.start_waiters, &Err(Arc::new(going)));
            return;
        };
        slot.busy = Some(Busy::Starting);
        let id = id.clone();
        let services = Arc::clone(&self.services);
        self.spawn(async move {
            let released = release(&live, &id);
            let result = services.phases.time(Phase::ContainerStart, released).await;
            Done::Started(id, result)
        });
    }

    pub(super) fn started(&mut self, id: &ContainerId, result: Result<SystemTime, StartError>) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        slot.busy = None;
        let mut waiters = std::mem::take(&mut slot.start_waiters);
        match result {
            Ok(at) => {
                self.runs(id, at);
                answer(&mut waiters, &Ok(()));
            }
            Err(error) => {
                if let StartError::Program { source, .. } = &error {
                    self.end(
                        id,
                        start_failure(agent_telemetry::chain(source).to_string()),
                    );
                }
                self.publish();
                answer(&mut waiters, &Err(Arc::new(error)));
            }
        }
        self.after_start(id);
    }

    /// Notes that the program runs.
    fn runs(&mut self, id: &ContainerId, at: SystemTime) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let event = ContainerEvent::Started {
            pid: slot.pid,
            at: at.into(),
        };
        match slot.state.after(event) {
            Ok(state) => slot.state = state,
            // It has ended already, and its end was heard first.
            Err(error) => {
                tracing::debug!(container_id = %id, error = %error, "container ended as it started");
            }
        }
        self.save_later(id);
        self.tell_container(id, Action::Start, Vec::new());
        self.publish();
    }

    /// Does what was asked for while the start was under way.
    fn after_start(&mut self, id: &ContainerId) {
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        let running = slot.is_running();
        if running && (!slot.remove_waiters.is_empty() || !slot.stop_waiters.is_empty()) {
            let now = slot
                .stopping
                .as_ref()
                .is_none_or(|stopping| stopping.deadline <= std::time::Instant::now());
            let signal = if now || !slot.remove_waiters.is_empty() {
                9
            } else {
                slot.record.stop_signal
            };
            self.signal(id, signal, signal == 9);
        } else if !running {
            let waiting = !slot.remove_waiters.is_empty();
            if let Some(slot) = self.slots.get_mut(id) {
                answer(&mut slot.stop_waiters, &Ok(()));
            }
            if waiting {
                self.clean_container(id);
            }
        }
        if self.phase != SandboxPhase::Stopping {
            self.drive_removal();
        }
    }

    pub(super) fn start_local(&mut self, id: &ContainerId) {
        if self.phase == SandboxPhase::Stopping {
            // What its last run had is still being given back; the start comes after that.
            return;
        }
        if self.phase != SandboxPhase::NotReady {
            let going = Err(Arc::new(StartError::Going { id: id.clone() }));
            if let Some(slot) = self.slots.get_mut(id) {
                answer(&mut slot.start_waiters, &going);
            }
            return;
        }
        if self.leftover.is_some() {
            // The ledger has room for one run: what the last one left goes first.
            self.leftover_goes_first(id);
            return;
        }
        let joined = self.joined();
        self.move_on(SandboxEvent::StartAsked);
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        slot.busy = Some(Busy::Starting);
        slot.again.under_way = slot.start_waiters.is_empty();
        slot.state = ContainerState::Created;
        let attaches = std::mem::take(&mut slot.attaches);
        let work = LocalStart {
            services: Arc::clone(&self.services),
            sandbox: Arc::clone(&self.record),
            record: Arc::clone(&slot.record),
        };
        let id = id.clone();
        self.spawn(async move {
            let result = work.run(joined, attaches).await;
            Done::StartedLocal(id, result.map(Box::new))
        });
    }

    fn leftover_goes_first(&mut self, id: &ContainerId) {
        let going = Err(Arc::new(StartError::Going { id: id.clone() }));
        if let Some(slot) = self.slots.get_mut(id) {
            answer(&mut slot.start_waiters, &going);
        }
        self.take_down();
    }

    pub(super) fn started_local(
        &mut self,
        id: &ContainerId,
        result: Result<Box<StartedLocal>, Box<Failed<StartError>>>,
    ) {
        match result {
            Ok(started) => {
                let StartedLocal {
                    live,
                    events,
                    made,
                    started_at,
                } = *started;
                self.stand(live, events);
                if let Some(slot) = self.slots.get_mut(id) {
                    slot.pid = made.pid;
                    slot.user = made.user;
                    slot.template = made.template;
                }
                self.started(id, Ok(started_at));
            }
            Err(failed) => {
                let Failed { error, left } = *failed;
                self.move_on(SandboxEvent::WentDown);
                // Logged there; another start or the removal tries again.
                drop(self.keep(left));
                let code = error.program_exit_code().unwrap_or(128);
                let mut exit = start_failure(agent_telemetry::chain(&error).to_string());
                exit.code = code;
                if let Some(slot) = self.slots.get_mut(id) {
                    slot.busy = None;
                    let mut waiters = std::mem::take(&mut slot.start_waiters);
                    if !slot.again.under_way {
                        self.give_up(id);
                    }
                    self.end(id, exit);
                    answer(&mut waiters, &Err(Arc::new(error)));
                }
                self.after_run();
            }
        }
    }

    /// A person's container has ended and its sandbox is down: does what was put off until now.
    pub(super) fn after_run(&mut self) {
        let ids: Vec<_> = self.slots.keys().cloned().collect();
        for id in ids {
            let remove = self.slots.get(&id).is_some_and(|slot| {
                let ended = matches!(slot.state, ContainerState::Exited(_));
                !slot.remove_waiters.is_empty() || (ended && slot.record.spec.switches.auto_remove)
            });
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            let starts = slot.busy.is_none() && !slot.start_waiters.is_empty();
            if remove {
                let going = Err(Arc::new(StartError::Going { id: id.clone() }));
                answer(&mut slot.start_waiters, &going);
                self.clean_container(&id);
            } else if starts {
                self.start_local(&id);
            } else {
                self.consider_again(&id);
            }
        }
    }

    /// Takes down a person's sandbox whose container ended while no agent was there.
    pub(super) fn settle_local(&mut self) {
        let runs = self.slots.values().any(super::slot::Slot::is_running);
        if self.is_local() && !runs {
            self.take_down();
        }
    }
}

fn start_failure(message: String) -> Exit {
    Exit {
        code: 128,
        reason: ExitReason::StartError,
        message,
        started_at: None,
        finished_at: Timestamp::now(),
    }
}

async fn release(live: &Live, id: &ContainerId) -> Result<SystemTime, StartError> {
    live.shim.start_container(id).await.map_err(|source| {
        let id = id.clone();
        if shim::program_exit_code(&source).is_some() {
            StartError::Program { id, source }
        } else {
            StartError::Shim { id, source }
        }
    })
}

/// Brings a person's container up from nothing.
struct LocalStart {
    services: Arc<crate::services::Services>,
    sandbox: Arc<crate::sandbox::spec::SandboxRecord>,
    record: Arc<crate::container::spec::ContainerRecord>,
}

impl LocalStart {
    async fn run(
        self,
        joined: Result<Joined, RunError>,
        attaches: Vec<PendingAttach>,
    ) -> Result<StartedLocal, Box<Failed<StartError>>> {
        let sandbox = |source| StartError::Sandbox(Box::new(source));
        let joined = joined.map_err(sandbox)?;
        let (live, events) = bring_up(&self.services, &self.sandbox, joined)
            .await
            .map_err(|failed| failed.map(sandbox))?;
        match self.set_up(&live, attaches).await {
            Ok((made, started_at)) => Ok(StartedLocal {
                live,
                events,
                made,
                started_at,
            }),
            Err(error) => {
                let mut owned = live.owned();
                owned.containers = vec![self.record.cgroup.clone()];
                drop(live);
                let left = tear_down(&self.services, &self.sandbox, owned).await.err();
                Err(Box::new(Failed { error, left }))
            }
        }
    }

    async fn set_up(
        &self,
        live: &Live,
        attaches: Vec<PendingAttach>,
    ) -> Result<(Made, SystemTime), StartError> {
        let id = &self.record.id;
        let made = set_up::set_up(&self.services, &self.sandbox, live, &self.record)
            .await
            .map_err(|source| CreateError::Step {
                id: id.clone(),
                source: Box::new(source),
            })
            .map_err(|error| StartError::Setup(Box::new(error)))?;
        for (streams, reply) in attaches {
            let id = id.clone();
            let result = live.shim.attach(&id, streams).await;
            let result = result.map_err(|source| Arc::new(AttachError::Shim { id, source }));
            // A client that went away is not connected.
            drop(reply.send(result));
        }
        let released = release(live, id);
        let phases = &self.services.phases;
        let started_at = phases.time(Phase::ContainerStart, released).await?;
        Ok((made, started_at))
    }
}
