//! The codes that `ctl` ends with.

use std::process::ExitCode;

use super::CommandError;

/// The code `ctl` ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExitStatus(pub(super) u8);

impl ExitStatus {
    /// Everything asked for was done.
    pub(crate) const DONE: Self = Self(0);
    /// The request failed, or part of it.
    pub(crate) const FAILED: Self = Self(1);
    /// The command line is wrong.
    pub(crate) const USAGE: Self = Self(2);
    /// `run` and `exec`: the failure is not the container's own.
    pub(crate) const AGENT: Self = Self(125);
    /// `run` and `exec`: the program cannot be executed.
    pub(crate) const NOT_EXECUTABLE: Self = Self(126);
    /// `run` and `exec`: there is no such program.
    pub(crate) const NO_PROGRAM: Self = Self(127);
    /// Nobody reads the output any more; what SIGPIPE would have left.
    pub(crate) const BROKEN_PIPE: Self = Self(141);

    /// Returns the code of a process in a container.
    pub(crate) fn of_process(code: i32) -> Self {
        // The kernel keeps eight bits of an exit code; so do we.
        Self(code.rem_euclid(256).try_into().unwrap_or(u8::MAX))
    }

    /// Returns the code a shell gives a process that signal number `signal` ended.
    pub(crate) fn of_signal(signal: i32) -> Self {
        Self::of_process(128 + signal)
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.0)
    }
}

/// Which codes a command's failures have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCodes {
    /// 1 for a failed request, 2 for wrong usage.
    Plain,
    /// 1 for a failed request, 125 for wrong usage: `create`.
    Create,
    /// 125, 126 or 127, as the container's own code has the rest: `run` and `exec`.
    Process,
}

impl ExitCodes {
    /// Returns the code for `error`.
    pub(crate) fn of(self, error: &CommandError) -> ExitStatus {
        if error.is_broken_pipe() {
            return ExitStatus::BROKEN_PIPE;
        }
        match (self, error.is_usage()) {
            (Self::Plain, true) => ExitStatus::USAGE,
            (Self::Plain | Self::Create, false) => ExitStatus::FAILED,
            (Self::Create, true) => ExitStatus::AGENT,
            (Self::Process, _) => error.process_code().unwrap_or(ExitStatus::AGENT),
        }
    }
}
