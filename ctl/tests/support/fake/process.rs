//! A container that only pretends to have a process.

use proto::agent::{Container, ContainerState, InspectContainerResponse, LogEntry, StreamKind};
use tokio::sync::watch;

/// What a container's process does.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// Writes what it is to write and ends.
    Ends(i32),
    /// Writes its input back, and ends with it.
    Echoes,
    /// Runs until a signal ends it.
    Waits,
}

/// What an attached client hears when the container has ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum AttachEnd {
    #[default]
    Code,
    /// Nothing more.
    Silence,
    /// That the agent goes away.
    Failure,
}

/// A container and its process.
#[derive(Debug)]
pub(crate) struct FakeContainer {
    pub(crate) answer: InspectContainerResponse,
    pub(crate) behaviour: Behaviour,
    pub(crate) log: watch::Sender<Vec<LogEntry>>,
    pub(crate) started: watch::Sender<bool>,
    pub(crate) exit: watch::Sender<Option<i32>>,
}

impl FakeContainer {
    pub(crate) fn new(answer: InspectContainerResponse) -> Self {
        let state = answer.container.clone().unwrap_or_default().state();
        let exit = match state {
            ContainerState::Exited => Some(
                answer
                    .container
                    .as_ref()
                    .map_or(0, |container| container.exit_code),
            ),
            _ => None,
        };
        Self {
            answer,
            behaviour: Behaviour::Waits,
            log: watch::channel(Vec::new()).0,
            started: watch::channel(state == ContainerState::Running).0,
            exit: watch::channel(exit).0,
        }
    }

    /// Writes to the container's log.
    pub(crate) fn write(&self, stream: StreamKind, data: &[u8]) {
        self.log.send_modify(|log| {
            // A second for each entry, from a moment of its own.
            let time =
                1_767_366_245_000_000_000 + 1_000_000_000 * i64::try_from(log.len()).expect("few");
            log.push(LogEntry {
                time,
                stream: stream.into(),
                data: data.to_vec(),
            });
        });
    }

    pub(super) fn container(&self) -> Container {
        self.answer.container.clone().unwrap_or_default()
    }
}
