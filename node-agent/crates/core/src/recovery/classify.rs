//! What became of a container, from its record and what its shim says. Pure.

use agent_shim_client::{ContainerReport, ExitReport};
use agent_types::Owner;

use crate::container::state::{ContainerState, Exit};
use crate::sandbox::actor::exit_of;
use crate::time::Timestamp;

/// A container as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Survivor {
    pub(super) state: ContainerState,
    /// Process id; 0: it has no process.
    pub(super) pid: u32,
}

impl Survivor {
    fn without_process(state: ContainerState) -> Self {
        Self { state, pid: 0 }
    }
}

/// The shim lives: it knows.
pub(super) fn with_shim(
    stored: &ContainerState,
    report: Option<&ContainerReport>,
    owner: Owner,
) -> Survivor {
    let Some(report) = report else {
        return without_shim(stored, None, owner, false);
    };
    if let Some(exit) = &report.exited {
        return Survivor::without_process(ended(stored, exit_of(exit)));
    }
    let state = match report.started_at {
        Some(at) => ContainerState::Running {
            pid: report.pid,
            started_at: Timestamp::from(at),
        },
        None => ContainerState::Created,
    };
    Survivor {
        state,
        pid: report.pid,
    }
}

/// The shim is gone: the exit it had written, or nobody knows.
pub(super) fn without_shim(
    stored: &ContainerState,
    exit: Option<&ExitReport>,
    owner: Owner,
    rebooted: bool,
) -> Survivor {
    let why = if rebooted {
        "the machine was restarted"
    } else {
        "its shim died"
    };
    let state = match (stored, exit) {
        (ContainerState::Exited(exit), _) => ContainerState::Exited(exit.clone()),
        (stored, Some(exit)) => ended(stored, exit_of(exit)),
        // A person's container that was never started has lost nothing.
        (ContainerState::Created, None) if owner == Owner::Local => ContainerState::Created,
        (ContainerState::Created, None) => ContainerState::Exited(Exit::unseen(None, why)),
        (ContainerState::Running { started_at, .. }, None) => {
            ContainerState::Exited(Exit::unseen(Some(*started_at), why))
        }
    };
    Survivor::without_process(state)
}

fn ended(stored: &ContainerState, exit: Exit) -> ContainerState {
    match stored {
        ContainerState::Exited(first) => ContainerState::Exited(first.clone()),
        ContainerState::Created | ContainerState::Running { .. } => ContainerState::Exited(exit),
    }
}
