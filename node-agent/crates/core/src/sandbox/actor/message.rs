//! What a sandbox's task is asked, and what comes back to it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_shim_client::{Attach, Attachment, Events, ExitReport};
use agent_types::ContainerId;
use tokio::sync::oneshot;
use tracing::Span;

use crate::container::create::Made;
use crate::container::restart::Wish;
use crate::container::spec::ContainerSpec;
use crate::container::state::Exit;
use crate::container::{
    AttachError, Change, CreateError, RemoveError, StartError, StopError, UpdateError,
};
use crate::sandbox::create::Live;
use crate::sandbox::error::{EndError, RunError, TeardownError};
use crate::sandbox::stop::{Failed, Incomplete};

/// Where the answer to a command goes; several callers may share one failure.
pub(crate) type Reply<T, E> = oneshot::Sender<Result<T, Arc<E>>>;

/// Whether a running container may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Only one that does not run.
    Ended,
    /// Kill it first.
    Forced,
}

#[derive(Debug)]
pub(crate) enum Command {
    WaitUp {
        reply: Reply<(), RunError>,
    },
    Stop {
        reply: Reply<(), EndError>,
    },
    /// End what an earlier tear-down has left, and nothing that stands.
    EndLeftover {
        reply: Reply<(), EndError>,
    },
    Remove {
        reply: Reply<(), EndError>,
    },
    CreateContainer {
        id: ContainerId,
        spec: Box<ContainerSpec>,
        reply: Reply<ContainerId, CreateError>,
    },
    StartContainer {
        id: ContainerId,
        reply: Reply<(), StartError>,
    },
    StopContainer {
        id: ContainerId,
        signal: Option<i32>,
        grace: Duration,
        reply: Reply<(), StopError>,
    },
    RemoveContainer {
        id: ContainerId,
        removal: Removal,
        reply: Reply<(), RemoveError>,
    },
    WaitContainer {
        id: ContainerId,
        reply: oneshot::Sender<Exit>,
    },
    Attach {
        id: ContainerId,
        streams: Attach,
        reply: Reply<Attachment, AttachError>,
    },
    /// Note what a person asks of it, before it is done.
    Wish {
        id: ContainerId,
        wish: Wish,
        reply: Reply<(), StopError>,
    },
    /// Keep in the record what was changed.
    Change {
        id: ContainerId,
        change: Box<Change>,
        reply: Reply<(), UpdateError>,
    },
}

/// A container of a person's that was brought up whole.
#[derive(Debug)]
pub(crate) struct StartedLocal {
    pub(crate) live: Live,
    pub(crate) events: Events,
    pub(crate) made: Made,
    pub(crate) started_at: SystemTime,
}

/// The end of long work.
#[derive(Debug)]
pub(crate) enum Done {
    Up(Result<Box<(Live, Events)>, Box<Failed<RunError>>>),
    Down(Option<Incomplete>),
    /// It is down, and these are the exits that its shim had written.
    Lost {
        exits: Vec<ExitReport>,
        left: Option<Incomplete>,
    },
    Forgotten(Result<(), TeardownError>),
    Created(ContainerId, Result<Made, CreateError>),
    Started(ContainerId, Result<SystemTime, StartError>),
    StartedLocal(
        ContainerId,
        Result<Box<StartedLocal>, Box<Failed<StartError>>>,
    ),
    Cleaned(ContainerId, Result<(), RemoveError>),
}

#[derive(Debug)]
pub(crate) enum Message {
    /// With the span of whoever asks: what is done for it is part of that.
    Command(Command, Span),
    Done(Done),
    /// A stop's time is up.
    Deadline {
        container: ContainerId,
        generation: u64,
    },
    /// The wait before a start by itself is over.
    Again {
        container: ContainerId,
        generation: u64,
    },
}

impl From<Command> for Message {
    fn from(command: Command) -> Self {
        Self::Command(command, Span::current())
    }
}

impl Command {
    /// Returns the container that it is about.
    pub(super) fn container(&self) -> Option<&ContainerId> {
        match self {
            Self::WaitUp { .. }
            | Self::Stop { .. }
            | Self::EndLeftover { .. }
            | Self::Remove { .. } => None,
            Self::CreateContainer { id, .. }
            | Self::StartContainer { id, .. }
            | Self::StopContainer { id, .. }
            | Self::RemoveContainer { id, .. }
            | Self::WaitContainer { id, .. }
            | Self::Attach { id, .. }
            | Self::Wish { id, .. }
            | Self::Change { id, .. } => Some(id),
        }
    }
}
