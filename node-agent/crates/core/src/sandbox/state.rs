//! The life of a sandbox, as data and one pure function.
//!
//! ```text
//!             CameUp            StopAsked             WentDown
//!  Creating ─────────▶ Ready ─────────────▶ Stopping ─────────▶ NotReady ──RemoveAsked──▶ Removing
//!     │                  │ WentDown (its shim died)                ▲  │
//!     └──── WentDown ────┴─────────────────────────────────────────┘  │ StartAsked (a person's only)
//!     ▲───────────────────────────────────────────────────────────────┘
//! ```

use serde::{Deserialize, Serialize};

/// Where a sandbox is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxPhase {
    /// Namespaces, cgroup and network are being made.
    Creating,
    /// It stands; containers can be made in it.
    Ready,
    /// Its containers are being ended and its network given back.
    Stopping,
    /// Nothing of it runs.
    NotReady,
    /// Its containers and records are being removed.
    Removing,
}

/// What may happen to a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxEvent {
    /// Everything it needs was made.
    CameUp,
    /// Somebody wants it stopped.
    StopAsked,
    /// Nothing of it is left running.
    WentDown,
    /// A person starts a container of it again.
    StartAsked,
    /// Somebody wants it gone.
    RemoveAsked,
}

/// An event that a phase does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a sandbox that is {phase} does not take {event:?}")]
pub struct InvalidTransition {
    /// The phase as a word.
    pub phase: &'static str,
    /// What was attempted.
    pub event: SandboxEvent,
}

impl SandboxPhase {
    /// Returns the phase as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "being created",
            Self::Ready => "ready",
            Self::Stopping => "being stopped",
            Self::NotReady => "not ready",
            Self::Removing => "being removed",
        }
    }

    /// Returns the phase after `event`.
    ///
    /// # Errors
    /// When the phase does not allow it.
    pub fn after(self, event: SandboxEvent) -> Result<Self, InvalidTransition> {
        use SandboxEvent as E;
        match (self, event) {
            (Self::Creating, E::CameUp) => Ok(Self::Ready),
            (Self::Ready | Self::Stopping, E::StopAsked) => Ok(Self::Stopping),
            (Self::Creating | Self::Ready | Self::Stopping | Self::NotReady, E::WentDown)
            | (Self::NotReady, E::StopAsked) => Ok(Self::NotReady),
            (Self::NotReady, E::StartAsked) => Ok(Self::Creating),
            (Self::NotReady | Self::Removing, E::RemoveAsked) => Ok(Self::Removing),
            (phase, event) => Err(InvalidTransition {
                phase: phase.as_str(),
                event,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SandboxEvent as E;
    use SandboxPhase as P;
    use proptest::prelude::*;

    const PHASES: [P; 5] = [P::Creating, P::Ready, P::Stopping, P::NotReady, P::Removing];
    const EVENTS: [E; 5] = [
        E::CameUp,
        E::StopAsked,
        E::WentDown,
        E::StartAsked,
        E::RemoveAsked,
    ];

    #[test]
    fn every_phase_answers_every_event() {
        let table: Vec<Vec<Option<P>>> = PHASES
            .iter()
            .map(|phase| {
                EVENTS
                    .iter()
                    .map(|event| phase.after(*event).ok())
                    .collect()
            })
            .collect();
        assert_eq!(
            table,
            [
                [Some(P::Ready), None, Some(P::NotReady), None, None],
                [None, Some(P::Stopping), Some(P::NotReady), None, None],
                [None, Some(P::Stopping), Some(P::NotReady), None, None],
                [
                    None,
                    Some(P::NotReady),
                    Some(P::NotReady),
                    Some(P::Creating),
                    Some(P::Removing)
                ],
                [None, None, None, None, Some(P::Removing)],
            ]
        );
    }

    proptest! {
        #[test]
        fn stop_and_remove_may_be_repeated(order in proptest::collection::vec(0..EVENTS.len(), 0..30)) {
            let mut phase = P::Creating;
            for index in order {
                let event = EVENTS[index];
                if let Ok(next) = phase.after(event) {
                    if matches!(event, E::StopAsked | E::RemoveAsked) {
                        prop_assert_eq!(next.after(event), Ok(next));
                    }
                    phase = next;
                }
            }
        }
    }
}
