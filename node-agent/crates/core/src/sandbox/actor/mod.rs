//! The task that owns a sandbox and its containers.
//!
//! It takes one message at a time and never waits for a container, a shim or a timer: long work
//! runs in tasks of its own, and its end comes back as [`Done`]. What everybody may see is
//! published as a [`SandboxView`] after each message.
//!
//! [`lifecycle`] brings the sandbox up and down, [`containers`] does the same for its containers,
//! and [`message`] lists what can be asked.

mod containers;
mod lifecycle;
pub(crate) mod message;
mod slot;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_shim_client::{Events, ShimEvent};
use agent_types::{ContainerId, Owner};
use tokio::sync::{mpsc, watch};

use self::message::{Command, Done, Message};
use self::slot::{Creating, Slot};
use super::create::Live;
use super::error::{EndError, RunError};
use super::spec::SandboxRecord;
use super::state::SandboxPhase;
use super::view::SandboxView;
use crate::event::{Action, Event, Subject};
use crate::node::index::Index;
use crate::services::Services;
use crate::time::Timestamp;

pub(crate) use self::containers::exit_of;
pub(crate) use self::message::{Removal, Reply};
pub(crate) use self::slot::Adopted;

/// Messages that may wait before a caller is held up.
const QUEUE: usize = 64;

/// Reaches a sandbox's task.
#[derive(Debug, Clone)]
pub(crate) struct SandboxHandle {
    pub(crate) record: Arc<SandboxRecord>,
    pub(crate) commands: mpsc::Sender<Message>,
    pub(crate) view: watch::Receiver<Arc<SandboxView>>,
}

impl SandboxHandle {
    /// Returns what can be seen of the sandbox now.
    pub(crate) fn view(&self) -> Arc<SandboxView> {
        Arc::clone(&self.view.borrow())
    }
}

/// A sandbox's task.
struct Actor {
    services: Arc<Services>,
    index: Arc<Index>,
    record: Arc<SandboxRecord>,
    phase: SandboxPhase,
    live: Option<Arc<Live>>,
    /// A tear-down failed; the next stop or removal tries again.
    leftover: Option<super::spec::SandboxStateRecord>,
    slots: BTreeMap<ContainerId, Slot>,
    /// Order of creation, for listing.
    order: Vec<ContainerId>,
    creating: Vec<Creating>,
    up_waiters: Vec<Reply<(), RunError>>,
    stop_waiters: Vec<Reply<(), EndError>>,
    remove_waiters: Vec<Reply<(), EndError>>,
    own: mpsc::Sender<Message>,
    shim_events: Option<Events>,
    view: watch::Sender<Arc<SandboxView>>,
    gone: bool,
}

/// How a sandbox's task begins.
pub(crate) enum Beginning {
    /// Bring it up.
    New,
    /// A person's container that is not started yet, or has ended.
    Resting {
        leftover: Option<super::spec::SandboxStateRecord>,
        containers: Vec<Adopted>,
    },
    /// Found running after a restart.
    Running {
        live: Box<Live>,
        events: Events,
        containers: Vec<Adopted>,
    },
}

/// Starts the task of a sandbox.
pub(crate) fn spawn(
    services: Arc<Services>,
    index: Arc<Index>,
    record: Arc<SandboxRecord>,
    beginning: Beginning,
) -> SandboxHandle {
    let (own, messages) = mpsc::channel(QUEUE);
    let (view, seen) = watch::channel(Arc::new(SandboxView {
        record: Arc::clone(&record),
        phase: SandboxPhase::Creating,
        live: None,
        containers: Vec::new(),
    }));
    let handle = SandboxHandle {
        record: Arc::clone(&record),
        commands: own.clone(),
        view: seen,
    };
    let mut actor = Actor {
        services,
        index,
        record,
        phase: SandboxPhase::Creating,
        live: None,
        leftover: None,
        slots: BTreeMap::new(),
        order: Vec::new(),
        creating: Vec::new(),
        up_waiters: Vec::new(),
        stop_waiters: Vec::new(),
        remove_waiters: Vec::new(),
        own,
        shim_events: None,
        view,
        gone: false,
    };
    actor.begin(beginning);
    actor.publish();
    tokio::spawn(actor.run(messages));
    handle
}

impl Actor {
    fn begin(&mut self, beginning: Beginning) {
        match beginning {
            Beginning::New => self.bring_up(),
            Beginning::Resting {
                leftover,
                containers,
            } => {
                self.phase = SandboxPhase::NotReady;
                self.leftover = leftover;
                self.adopt(containers);
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
                self.settle_local();
            }
        }
    }

    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
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
            Message::Command(command) => self.command(command),
            Message::Done(done) => self.done(done),
            Message::Deadline {
                container,
                generation,
            } => self.deadline(&container, generation),
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::WaitUp { reply } => self.wait_up(reply),
            Command::Stop { reply } => self.stop(reply),
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
            Command::SetLimits { id, limits } => self.set_limits(&id, *limits),
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Up(result) => self.came_up(result),
            Done::Down(failures) => self.went_down(failures),
            Done::Lost { exits, failures } => self.was_lost(exits, failures),
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
            // Sessions are followed by whoever opened them.
            Some(ShimEvent::ExecExited(_)) => {}
            Some(ShimEvent::Gone) | None => {
                self.shim_events = None;
                self.shim_gone();
            }
        }
    }

    /// Runs long work; its end comes back as a message.
    fn spawn(&self, work: impl Future<Output = Done> + Send + 'static) {
        let own = self.own.clone();
        tokio::spawn(async move {
            // The task outlives the channel only when the agent is going down.
            drop(own.send(Message::Done(work.await)).await);
        });
    }

    fn publish(&self) {
        let view = SandboxView {
            record: Arc::clone(&self.record),
            phase: self.phase,
            live: self.live.clone(),
            containers: self
                .order
                .iter()
                .filter_map(|id| self.slots.get(id))
                .map(Slot::view)
                .collect(),
        };
        self.view.send_replace(Arc::new(view));
    }

    fn tell(&self, subject: Subject, action: Action, id: &str, extra: Vec<(&'static str, String)>) {
        let mut attributes = vec![("name", self.record.spec.metadata.name.clone())];
        attributes.extend(extra);
        self.services.events.tell(Event {
            time: Timestamp::now(),
            subject,
            action,
            id: id.to_owned(),
            owner: Some(self.record.spec.owner),
            attributes,
        });
    }

    fn is_local(&self) -> bool {
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
