//! Several names in one command: a failure of one keeps none of the others from its turn.

use crate::error::{CommandError, ExitStatus};
use crate::output::Output;

/// What became of the names so far.
#[derive(Debug)]
pub(super) struct Each {
    status: ExitStatus,
}

impl Each {
    /// Returns the state before the first name.
    pub(super) fn new() -> Self {
        Self {
            status: ExitStatus::DONE,
        }
    }

    /// Writes what came of a name: the line, or the error. Only a failing output ends it all.
    pub(super) fn line(
        &mut self,
        out: &mut Output,
        result: Result<impl AsRef<str>, CommandError>,
    ) -> Result<(), CommandError> {
        match result {
            Ok(line) => out.line(line)?,
            Err(error) => self.failed(out, &error),
        }
        Ok(())
    }

    /// Reports the failure of a name.
    pub(super) fn failed(&mut self, out: &mut Output, error: &CommandError) {
        out.error(error);
        self.status = ExitStatus::FAILED;
    }

    /// Returns the code for all names together.
    pub(super) fn status(self) -> ExitStatus {
        self.status
    }
}
