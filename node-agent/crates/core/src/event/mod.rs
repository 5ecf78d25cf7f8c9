//! What happens on the node, for whoever listens.
//!
//! Owns: the bus. Does not: keep events; a reader hears what happens from when it came.
//! A reader that falls behind by [`CAPACITY`] events is told so and ended; nobody waits for it.
//! What a pod looked like is kept with the event, but nothing that holds on to the pod itself.

use std::sync::Arc;

use agent_types::Owner;
use tokio::sync::broadcast;

use crate::sandbox::view::SandboxView;
use crate::time::Timestamp;

/// Events a reader may be behind.
pub const CAPACITY: usize = 2048;

/// The kind of object an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A container.
    Container,
    /// A sandbox.
    Sandbox,
    /// An image.
    Image,
}

impl Subject {
    /// Returns the word clients see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Sandbox => "sandbox",
            Self::Image => "image",
        }
    }
}

/// What happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was made.
    Create,
    /// A container's program runs.
    Start,
    /// A container's main process ended.
    Exit,
    /// A sandbox was stopped.
    Stop,
    /// It is gone.
    Remove,
    /// A process was run in it.
    Exec,
    /// An image was fetched.
    Pull,
    /// An image got a reference.
    Tag,
    /// An image lost a reference.
    Untag,
}

impl Action {
    /// Returns the word clients see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Exit => "exit",
            Self::Stop => "stop",
            Self::Remove => "remove",
            Self::Exec => "exec",
            Self::Pull => "pull",
            Self::Tag => "tag",
            Self::Untag => "untag",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// To what kind of object.
    pub subject: Subject,
    /// What.
    pub action: Action,
    /// Id of the object; an image's reference.
    pub id: String,
    /// Whose; `None` for images.
    pub owner: Option<Owner>,
    /// Such as `name`, `image`, `exit_code`.
    pub attributes: Vec<(&'static str, String)>,
    /// The sandbox it happened in, as it was right after; `None` for images.
    pub sandbox: Option<Arc<SandboxView>>,
}

/// Where events are told and heard.
#[derive(Debug, Clone)]
pub struct EventBus(broadcast::Sender<Arc<Event>>);

impl Default for EventBus {
    fn default() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }
}

impl EventBus {
    /// Tells everybody who listens; nobody has to.
    pub fn tell(&self, event: Event) {
        // Without a listener there is nobody to tell.
        drop(self.0.send(Arc::new(event)));
    }

    /// Returns whether anybody listens, so that nothing is put together for nobody.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Returns how many listen.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.0.receiver_count()
    }

    /// Returns what hears every event from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        self.0.subscribe()
    }
}
