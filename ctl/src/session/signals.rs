//! Signals that `ctl` gets while a container is in the foreground.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::CommandError;

/// Signals passed on to the container, by number and name.
const PASSED_ON: [(i32, &str); 8] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (10, "SIGUSR1"),
    (12, "SIGUSR2"),
    (14, "SIGALRM"),
    (15, "SIGTERM"),
    (18, "SIGCONT"),
];

/// Those that would end `ctl` and leave its terminal raw.
const ENDING: [(i32, &str); 4] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (15, "SIGTERM"),
];

/// A signal that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caught {
    pub(super) number: i32,
    pub(super) name: &'static str,
}

impl Caught {
    /// Tells whether it asks for an end.
    pub(super) fn is_impatient(self) -> bool {
        matches!(self.number, 2 | 15)
    }
}

/// Signals as they come.
#[derive(Debug)]
pub(crate) struct Signals(mpsc::Receiver<Caught>);

impl Signals {
    /// Catches what can be passed on to a container.
    pub(crate) fn to_pass_on() -> Result<Self, CommandError> {
        Self::catch(&PASSED_ON)
    }

    /// Catches what would end `ctl`.
    pub(super) fn that_end() -> Result<Self, CommandError> {
        Self::catch(&ENDING)
    }

    fn catch(signals: &[(i32, &'static str)]) -> Result<Self, CommandError> {
        let (sender, receiver) = mpsc::channel(signals.len());
        for &(number, name) in signals {
            let mut signal = signal(SignalKind::from_raw(number))
                .map_err(|source| CommandError::Runtime { source })?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signal.recv().await.is_some()
                    && sender.send(Caught { number, name }).await.is_ok()
                {}
            });
        }
        Ok(Self(receiver))
    }

    /// Returns the next signal.
    pub(super) async fn next(&mut self) -> Option<Caught> {
        self.0.recv().await
    }
}
