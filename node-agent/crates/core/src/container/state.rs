//! The life of a container, as data and one pure function.
//!
//! ```text
//!            Started              Exited
//!  Created ───────────▶ Running ─────────▶ Exited
//!     │                                      ▲ │
//!     └──────────── Exited (never ran) ──────┘ │ Reset (a person starts it again)
//!     ▲────────────────────────────────────────┘
//! ```

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Why a container is not running any more; the words are CRI's `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// Code 0.
    Completed,
    /// Another code, or a signal.
    Error,
    /// The kernel's OOM killer.
    OomKilled,
    /// The program could not be executed.
    StartError,
    /// Nobody saw it end.
    Unknown,
}

impl ExitReason {
    /// Returns the word CRI and `ctl` show.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::OomKilled => "OOMKilled",
            Self::StartError => "StartError",
            Self::Unknown => "Unknown",
        }
    }
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The code, or 128 plus the signal; 128 for a start error, 255 when nobody saw it.
    pub code: i32,
    /// Why.
    pub reason: ExitReason,
    /// A sentence for people; empty where the reason says all.
    pub message: String,
    /// When it began to run; `None` if it never did.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

impl Exit {
    /// Returns the end of a container that nobody saw end.
    #[must_use]
    pub fn unseen(started_at: Option<Timestamp>, message: &str) -> Self {
        Self {
            code: 255,
            reason: ExitReason::Unknown,
            message: message.to_owned(),
            started_at,
            finished_at: Timestamp::now(),
        }
    }
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Made, never started (or, for a person's container, to be started again).
    Created,
    /// Its main process runs.
    Running {
        /// Process id on the host.
        pid: u32,
        /// When it began.
        started_at: Timestamp,
    },
    /// It ended, or could not start.
    Exited(Exit),
}

/// What may happen to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerEvent {
    /// The program was executed.
    Started {
        /// Process id on the host.
        pid: u32,
        /// When.
        at: Timestamp,
    },
    /// The main process ended, or could not be executed.
    Exited(Exit),
    /// A person asks for another run.
    Reset,
}

/// An event that a state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a container that is {state} cannot be {event}")]
pub struct InvalidTransition {
    /// The state as a word.
    pub state: &'static str,
    /// What was attempted, as a participle.
    pub event: &'static str,
}

impl ContainerState {
    /// Returns the state as a word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running { .. } => "running",
            Self::Exited(_) => "exited",
        }
    }

    /// Returns the state after `event`.
    ///
    /// # Errors
    /// When the state does not allow it; the state stays as it was.
    pub fn after(&self, event: ContainerEvent) -> Result<Self, InvalidTransition> {
        match (self, event) {
            (Self::Created, ContainerEvent::Started { pid, at }) => Ok(Self::Running {
                pid,
                started_at: at,
            }),
            (Self::Created, ContainerEvent::Exited(exit)) => Ok(Self::Exited(exit)),
            (Self::Running { started_at, .. }, ContainerEvent::Exited(exit)) => {
                Ok(Self::Exited(Exit {
                    started_at: Some(*started_at),
                    ..exit
                }))
            }
            // The exit may be reported twice: by the shim, and from the file it leaves.
            (Self::Exited(first), ContainerEvent::Exited(_)) => Ok(Self::Exited(first.clone())),
            (Self::Created | Self::Exited(_), ContainerEvent::Reset) => Ok(Self::Created),
            (state, ContainerEvent::Started { .. }) => Err(state.refuses("started")),
            (state, ContainerEvent::Reset) => Err(state.refuses("reset")),
        }
    }

    const fn refuses(&self, event: &'static str) -> InvalidTransition {
        InvalidTransition {
            state: self.as_str(),
            event,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exit(code: i32) -> Exit {
        Exit {
            code,
            reason: ExitReason::Completed,
            message: String::new(),
            started_at: None,
            finished_at: Timestamp(9),
        }
    }

    fn states() -> [ContainerState; 3] {
        [
            ContainerState::Created,
            ContainerState::Running {
                pid: 7,
                started_at: Timestamp(1),
            },
            ContainerState::Exited(exit(3)),
        ]
    }

    fn events() -> [ContainerEvent; 3] {
        [
            ContainerEvent::Started {
                pid: 8,
                at: Timestamp(2),
            },
            ContainerEvent::Exited(exit(4)),
            ContainerEvent::Reset,
        ]
    }

    #[test]
    fn every_state_answers_every_event() {
        let table: Vec<Vec<Option<&str>>> = states()
            .iter()
            .map(|state| {
                events()
                    .into_iter()
                    .map(|event| state.after(event).ok().map(|next| next.as_str()))
                    .collect()
            })
            .collect();
        assert_eq!(
            table,
            [
                [Some("running"), Some("exited"), Some("created")],
                [None, Some("exited"), None],
                [None, Some("exited"), Some("created")],
            ]
        );
    }

    #[test]
    fn the_first_exit_holds_and_keeps_the_start() {
        let [_, running, _] = states();
        let once = running.after(ContainerEvent::Exited(exit(3))).unwrap();
        let twice = once.after(ContainerEvent::Exited(exit(4))).unwrap();
        assert_eq!(once, twice);
        let ContainerState::Exited(exit) = twice else {
            panic!("not exited");
        };
        assert_eq!((exit.code, exit.started_at), (3, Some(Timestamp(1))));
    }

    proptest! {
        #[test]
        fn an_exited_container_never_runs_again_unless_reset(order in proptest::collection::vec(0..2usize, 0..20)) {
            let mut state = ContainerState::Created;
            let mut exited = false;
            for index in order {
                if let Ok(next) = state.after(events()[index].clone()) {
                    state = next;
                }
                exited |= matches!(state, ContainerState::Exited(_));
                prop_assert!(!exited || matches!(state, ContainerState::Exited(_)));
            }
        }
    }
}
