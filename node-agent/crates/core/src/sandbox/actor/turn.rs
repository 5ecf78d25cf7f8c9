//! One turn of a sandbox's task: a message, or what its shim says, and who does what then.

use std::sync::Arc;

use agent_shim_client::{Events, ShimEvent};
use agent_types::{ContainerId, Owner};
use tokio::sync::mpsc;
use tracing::{Instrument as _, Span};

use super::message::{Command, Done, Message};
use super::{Actor, Beginning};
use crate::sandbox::state::SandboxPhase;

impl Actor {
    pub(super) fn begin(&mut self, beginning: Beginning) {
        match beginning {
            Beginning::New { reply } => {
                // From the first moment on: it may fail before another message could arrive.
                self.up_waiters.push(reply);
                self.name_in_span(None);
                self.bring_up();
            }
            Beginning::Resting {
                leftover,
                containers,
            } => {
                self.phase = SandboxPhase::NotReady;
                self.leftover = leftover;
                self.adopt(containers);
                self.revive();
            }
            Beginning::Running {
                live,
                events,
                containers,
            } => {
                self.phase = SandboxPhase::Ready;
                self.live = Some(Arc::from(live));
                self.shim_events = Some(events);
                self.adopt(containers);
                self.revive();
                self.settle_local();
            }
        }
    }

    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while !self.gone {
            tokio::select! {
                Some(message) = messages.recv() => self.handle(message),
                event = next_event(&mut self.shim_events) => self.handle_shim(event),
            }
            self.publish();
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Command(command, span) => span.in_scope(|| self.command(command)),
            Message::Done(done) => self.done(done),
            Message::Deadline {
                container,
                generation,
            } => self.deadline(&container, generation),
            Message::Again {
                container,
                generation,
            } => self.again(&container, generation),
        }
    }

    fn command(&mut self, command: Command) {
        self.name_in_span(command.container());
        match command {
            Command::WaitUp { reply } => self.wait_up(reply),
            Command::Stop { reply } => self.stop(reply),
            Command::EndLeftover { reply } => self.end_leftover(reply),
            Command::Remove { reply } => self.remove(reply),
            Command::CreateContainer { id, spec, reply } => self.create_container(id, *spec, reply),
            Command::StartContainer { id, reply } => self.start_container(&id, reply),
            Command::StopContainer {
                id,
                signal,
                grace,
                reply,
            } => self.stop_container(&id, signal, grace, reply),
            Command::RemoveContainer { id, removal, reply } => {
                self.remove_container(&id, removal, reply);
            }
            Command::WaitContainer { id, reply } => self.wait_container(&id, reply),
            Command::Attach { id, streams, reply } => self.attach(&id, streams, reply),
            Command::Wish { id, wish, reply } => self.wish(&id, wish, reply),
            Command::Change { id, change, reply } => self.change(&id, *change, reply),
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Up(result) => self.came_up(result),
            Done::Down(left) => self.went_down(left),
            Done::Lost { exits, left } => self.was_lost(exits, left),
            Done::Forgotten(result) => self.forgotten(result),
            Done::Created(id, result) => self.created(&id, result),
            Done::Started(id, result) => self.started(&id, result),
            Done::StartedLocal(id, result) => self.started_local(&id, result),
            Done::Cleaned(id, result) => self.cleaned(&id, result),
        }
    }

    fn handle_shim(&mut self, event: Option<ShimEvent>) {
        match event {
            Some(ShimEvent::ContainerExited(report)) => self.container_exited(report),
            Some(ShimEvent::HookFailed { container, message }) => {
                tracing::warn!(container_id = %container, error = %message, "hook failed");
            }
            // Sessions are followed by whoever opened them.
            Some(ShimEvent::ExecExited(_)) => {}
            Some(ShimEvent::Gone) | None => {
                self.shim_events = None;
                self.shim_gone();
            }
        }
    }

    /// Runs long work, in the span of whoever asked for it; its end comes back as a message.
    pub(super) fn spawn(&self, work: impl Future<Output = Done> + Send + 'static) {
        let own = self.own.clone();
        let work = async move {
            // The task outlives the channel only when the agent is going down.
            drop(own.send(Message::Done(work.await)).await);
        };
        tokio::spawn(work.in_current_span());
    }

    /// Says in the caller's span what it is about.
    fn name_in_span(&self, container: Option<&ContainerId>) {
        let span = Span::current();
        span.record("sandbox_id", self.record.id.as_str());
        if let Some(container) = container {
            span.record("container_id", container.as_str());
        }
    }

    pub(super) fn is_local(&self) -> bool {
        self.record.spec.owner == Owner::Local
    }
}

/// Waits for the next event of a shim; for ever where there is none.
async fn next_event(events: &mut Option<Events>) -> Option<ShimEvent> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}
