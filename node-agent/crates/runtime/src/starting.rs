//! A container whose program is about to run, seen to by somebody else.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::error::StartError;
use crate::external::Run;
use crate::failure::Failure;
use crate::hooks::Attendant;

/// A container that is being started.
#[derive(Debug)]
pub struct Starting(By);

#[derive(Debug)]
enum By {
    /// Its runtime.
    Other(Run),
    /// A helper, which runs hooks before and after.
    Attendant(Attendant, Duration),
}

/// A container whose program runs.
#[derive(Debug)]
pub struct Started {
    /// Since when, in nanoseconds since the epoch; `None`: that is not known better than by the caller.
    pub at: Option<i64>,
    /// Which hooks failed after the start.
    pub warnings: Vec<Failure>,
}

impl Starting {
    pub(crate) const fn by_other(run: Run) -> Self {
        Self(By::Other(run))
    }

    pub(crate) const fn by_attendant(attendant: Attendant, patience: Duration) -> Self {
        Self(By::Attendant(attendant, patience))
    }

    /// Returns what becomes readable when there is something to tell.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            By::Other(run) => run.fd(),
            By::Attendant(attendant, _) => attendant.fd(),
        }
    }

    /// Ends a start that takes longer than [`Starting::patience`].
    pub fn kill(&mut self) {
        match &mut self.0 {
            By::Other(run) => run.kill(),
            By::Attendant(attendant, _) => attendant.kill(),
        }
    }

    /// Returns how long it may take.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        match &self.0 {
            By::Other(run) => run.patience(),
            By::Attendant(_, patience) => *patience,
        }
    }

    /// Returns when the program runs; there was something to tell.
    ///
    /// # Errors
    /// Says why it does not run. Its process has then ended, or is to be killed.
    pub fn finish(self) -> Result<Started, StartError> {
        match self.0 {
            By::Other(run) => run.finish().map_err(StartError::Step).map(|()| Started {
                at: None,
                warnings: Vec::new(),
            }),
            By::Attendant(attendant, _) => {
                let told = attendant.hear();
                let at = told.outcome.map_err(StartError::Step)?;
                Ok(Started {
                    at: Some(at),
                    warnings: told.warnings,
                })
            }
        }
    }
}
