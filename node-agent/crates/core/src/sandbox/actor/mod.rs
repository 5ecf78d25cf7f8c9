//! The task that owns a sandbox and its containers.
//!
//! It takes one message at a time and never waits for a container, a shim or a timer: long work
//! runs in tasks of its own, and its end comes back as [`message::Done`]. What everybody may see is
//! published as a [`SandboxView`] after each message.
//!
//! [`turn`] takes the messages, [`lifecycle`] brings the sandbox up and down, [`containers`] does the same for its containers,
//! and [`message`] lists what can be asked.

mod again;
mod containers;
mod create;
mod lifecycle;
pub(crate) mod message;
mod slot;
mod start;
mod tell;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_shim_client::Events;
use agent_types::ContainerId;
use tokio::sync::{mpsc, watch};

use self::message::Message;
use self::slot::{Creating, Slot};
use super::create::Live;
use super::error::{EndError, RunError};
use super::spec::SandboxRecord;
use super::state::SandboxPhase;
use super::view::SandboxView;
use crate::container::RemoveError;
use crate::node::index::Index;
use crate::services::Services;

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
    /// Who wait for the end of a person's container that is removed, name and all.
    gone_waiters: Vec<Reply<(), RemoveError>>,
    own: mpsc::Sender<Message>,
    shim_events: Option<Events>,
    view: watch::Sender<Arc<SandboxView>>,
    gone: bool,
}

/// How a sandbox's task begins.
pub(crate) enum Beginning {
    /// Bring it up, and tell whoever asked for it what came of it.
    New { reply: Reply<(), RunError> },
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
        kept_addresses: Vec::new(),
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
        gone_waiters: Vec::new(),
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
