//! What the task keeps of each container.

use std::sync::Arc;
use std::time::Instant;

use agent_shim_client::{Attach, Attachment};
use agent_types::ContainerId;
use tokio::sync::oneshot;

use super::again::Again;
use super::message::Reply;
use crate::container::create::Made;
use crate::container::spec::{ContainerRecord, ContainerSpec, ContainerUser};
use crate::container::state::{ContainerState, Exit};
use crate::container::{AttachError, CreateError, RemoveError, StartError, StopError};
use crate::exec::Template;
use crate::sandbox::view::ContainerView;

/// A container that is being created.
pub(super) struct Creating {
    pub(super) id: ContainerId,
    pub(super) spec: ContainerSpec,
    pub(super) waiters: Vec<Reply<ContainerId, CreateError>>,
}

/// Work on a container that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    Starting,
    Cleaning,
}

/// A stop that is under way.
#[derive(Debug)]
pub(super) struct Stopping {
    /// When SIGKILL is due.
    pub(super) deadline: Instant,
    /// Tells the timer in force from earlier ones.
    pub(super) generation: u64,
    pub(super) killed: bool,
}

/// A container found after a restart, or made without being set up.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) record: Arc<ContainerRecord>,
    pub(crate) state: ContainerState,
    pub(crate) pid: u32,
    pub(crate) user: Option<ContainerUser>,
    pub(crate) template: Option<Arc<Template>>,
    pub(crate) restarts: u32,
}

/// An attach that waits for the container to be set up.
pub(super) type PendingAttach = (Attach, Reply<Attachment, AttachError>);

pub(super) struct Slot {
    pub(super) record: Arc<ContainerRecord>,
    pub(super) state: ContainerState,
    /// Process id once it is set up; 0 before.
    pub(super) pid: u32,
    pub(super) user: Option<ContainerUser>,
    pub(super) template: Option<Arc<Template>>,
    pub(super) busy: Option<Busy>,
    pub(super) stopping: Option<Stopping>,
    pub(super) again: Again,
    pub(super) start_waiters: Vec<Reply<(), StartError>>,
    pub(super) stop_waiters: Vec<Reply<(), StopError>>,
    pub(super) remove_waiters: Vec<Reply<(), RemoveError>>,
    pub(super) exit_waiters: Vec<oneshot::Sender<Exit>>,
    pub(super) attaches: Vec<PendingAttach>,
}

impl Slot {
    pub(super) fn new(adopted: Adopted) -> Self {
        Self {
            record: adopted.record,
            state: adopted.state,
            pid: adopted.pid,
            user: adopted.user,
            template: adopted.template,
            busy: None,
            stopping: None,
            again: Again::after(adopted.restarts),
            start_waiters: Vec::new(),
            stop_waiters: Vec::new(),
            remove_waiters: Vec::new(),
            exit_waiters: Vec::new(),
            attaches: Vec::new(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, ContainerState::Running { .. })
    }

    pub(super) fn view(&self) -> ContainerView {
        ContainerView {
            record: Arc::clone(&self.record),
            state: self.state.clone(),
            user: self.user.clone(),
            template: self.template.clone(),
            restarts: self.again.count,
            restarting: self.is_restarting(),
        }
    }
}

impl From<Made> for Adopted {
    fn from(made: Made) -> Self {
        Self {
            record: made.record,
            state: ContainerState::Created,
            pid: made.pid,
            user: made.user,
            template: made.template,
            restarts: 0,
        }
    }
}

/// Gives every waiter the same answer.
pub(super) fn answer<T: Clone, E>(waiters: &mut Vec<Reply<T, E>>, result: &Result<T, Arc<E>>) {
    for waiter in waiters.drain(..) {
        // A caller that went away does not need the answer.
        drop(waiter.send(result.clone()));
    }
}
