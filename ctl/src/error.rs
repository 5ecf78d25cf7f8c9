//! Why a command failed, how that is put to people, and with which code `ctl` ends.
//!
//! An error's first line is its own message, the causes follow indented, and
//! then hints: what to do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use tonic::{Code, Status};

use crate::output::OutputError;
use crate::parse::ParseError;
use crate::template::TemplateError;
use crate::terminal::TerminalError;

/// The code `ctl` ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExitStatus(u8);

impl ExitStatus {
    /// Everything asked for was done.
    pub(crate) const DONE: Self = Self(0);
    /// The request failed, or part of it.
    pub(crate) const FAILED: Self = Self(1);
    /// The command line is wrong.
    pub(crate) const USAGE: Self = Self(2);
    /// `run` and `exec`: the failure is not the container's own.
    pub(crate) const AGENT: Self = Self(125);
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

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("{host:?} is not an address of an agent")]
    Host { host: String },
    #[error("cannot reach the agent at {host}")]
    Unreachable { host: String, source: AgentError },
    #[error("{attempted}")]
    Request {
        attempted: String,
        source: AgentError,
    },
    #[error("there is no {what} {name}")]
    NotFound {
        what: &'static str,
        name: String,
        near: Vec<String>,
    },
    #[error("container {container} cannot be removed")]
    InUse {
        container: String,
        source: AgentError,
    },
    #[error("the streams of container {container} are lost")]
    Lost {
        container: String,
        source: AgentError,
    },
    #[error("port {port} of container {container} is not published")]
    NotPublished { container: String, port: String },
    #[error("container {container} does not run, so there is nothing to attach to")]
    NotRunning { container: String },
    #[error("the agent sent an answer without its {what}")]
    Incomplete { what: &'static str },
    #[error("{option} is not usable")]
    Option { option: String, source: ParseError },
    #[error("{problem}")]
    Usage {
        problem: &'static str,
        hint: &'static str,
    },
    #[error("{} cannot be {verb}", path.display())]
    File {
        verb: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("credentials cannot be read from {}", path.display())]
    Credentials {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("the format cannot be applied")]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Terminal(#[from] TerminalError),
    #[error("the output cannot be written")]
    Output(#[from] OutputError),
    #[error("ctl cannot start")]
    Runtime { source: io::Error },
}

impl CommandError {
    /// Returns the error of a value given for `option`.
    pub(crate) fn option(option: impl Into<String>) -> impl FnOnce(ParseError) -> Self {
        let option = option.into();
        move |source| Self::Option { option, source }
    }

    /// Tells whether the command line is at fault.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Host { .. } | Self::Option { .. } | Self::Usage { .. } | Self::Template(_)
        )
    }

    /// Tells whether the reader of the output has gone away, which is no one's fault.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.is_broken_pipe())
    }

    /// Returns 126 or 127 where the agent says that a program could not be executed.
    fn process_code(&self) -> Option<ExitStatus> {
        match self {
            Self::Request { source, .. } => source.process_code(),
            _ => None,
        }
    }

    /// Returns what to do about it, a line each.
    pub(crate) fn hints(&self) -> Vec<String> {
        match self {
            Self::Host { .. } => vec!["give it as unix:///run/node-agent/node-agent.sock".into()],
            Self::Unreachable { source, .. } => unreachable_hints(source),
            Self::NotFound { near, what, .. } => near_hints(what, near),
            Self::InUse { container, .. } => vec![format!(
                "stop it first with `ctl stop {container}`, or remove it by force with `ctl rm -f {container}`"
            )],
            Self::Lost { container, .. } => {
                vec![format!(
                    "the container goes on; `ctl logs -f {container}` shows its output"
                )]
            }
            Self::Request { source, .. } => source.hint().into_iter().collect(),
            Self::NotRunning { .. } => vec!["`ctl start -a` starts it and attaches".into()],
            Self::Usage { hint, .. } => vec![(*hint).into()],
            Self::Option { source, .. } => source.hint().map(Into::into).into_iter().collect(),
            Self::Template(error) => error.hint().into_iter().collect(),
            Self::Terminal(error) => error.hint().map(Into::into).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

fn unreachable_hints(source: &AgentError) -> Vec<String> {
    match source.io_kind() {
        Some(io::ErrorKind::PermissionDenied) => {
            vec!["run ctl as root, or as a member of the socket's group".into()]
        }
        _ => vec![
            "is node-agent running? `systemctl status node-agent` tells".into(),
            "another socket is named by -H/--host or NODE_AGENT_HOST".into(),
        ],
    }
}

fn near_hints(what: &str, near: &[String]) -> Vec<String> {
    if !near.is_empty() {
        let names: Vec<_> = near.iter().map(|name| format!("`{name}`")).collect();
        return vec![format!("did you mean {}?", names.join(" or "))];
    }
    match what {
        "container" => vec!["`ctl ps -a` lists all containers".into()],
        "image" => vec!["`ctl images` lists the images of this node".into()],
        _ => Vec::new(),
    }
}

/// What the agent answered in place of a result.
///
/// Shown by its message alone: the code is for programs.
#[derive(Debug, Clone)]
pub(crate) struct AgentError(Box<Status>);

impl AgentError {
    /// Returns the status code.
    pub(crate) fn code(&self) -> Code {
        self.0.code()
    }

    /// Returns the kind of the I/O error that kept the request from the agent, if one did.
    pub(crate) fn io_kind(&self) -> Option<io::ErrorKind> {
        let mut cause = self.0.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return Some(error.kind());
            }
            cause = error.source();
        }
        None
    }

    /// Returns the code the agent gives a program that could not be executed.
    fn process_code(&self) -> Option<ExitStatus> {
        match self.0.metadata().get("exit-code")?.as_bytes() {
            b"126" => Some(ExitStatus(126)),
            b"127" => Some(ExitStatus(127)),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self.code() {
            Code::Unimplemented => Some("is the agent older than ctl? `ctl version` tells".into()),
            _ => None,
        }
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.io_kind(), self.0.message()) {
            (Some(io::ErrorKind::NotFound), _) => f.write_str("there is no such socket"),
            (Some(io::ErrorKind::ConnectionRefused), _) => {
                f.write_str("nothing listens on the socket")
            }
            (Some(kind), _) => write!(f, "{kind}"),
            (None, "") => write!(f, "{}", self.0.code().description().to_lowercase()),
            (None, message) => f.write_str(message),
        }
    }
}

// The status's own source is the transport's wording of the same thing.
impl Error for AgentError {}

impl From<Status> for AgentError {
    fn from(status: Status) -> Self {
        Self(Box::new(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(status: Status) -> CommandError {
        CommandError::Request {
            attempted: "container web cannot be started".into(),
            source: status.into(),
        }
    }

    #[test]
    fn codes_of_processes_keep_eight_bits() {
        assert_eq!(ExitStatus::of_process(0), ExitStatus::DONE);
        assert_eq!(ExitStatus::of_process(255), ExitStatus(255));
        assert_eq!(ExitStatus::of_process(-1), ExitStatus(255));
        assert_eq!(ExitStatus::of_process(256), ExitStatus(0));
        assert_eq!(ExitStatus::of_signal(9), ExitStatus(137));
    }

    #[test]
    fn a_program_that_cannot_run_has_dockers_code() {
        for (sent, code) in [
            ("126", ExitStatus(126)),
            ("127", ExitStatus(127)),
            ("1", ExitStatus::AGENT),
        ] {
            let mut status = Status::failed_precondition("no");
            status
                .metadata_mut()
                .insert("exit-code", sent.parse().expect("ascii"));
            assert_eq!(ExitCodes::Process.of(&request(status)), code);
        }
    }

    #[test]
    fn each_kind_of_command_has_its_codes() {
        let failed = request(Status::internal("no"));
        let usage = CommandError::Usage {
            problem: "no",
            hint: "yes",
        };
        let table = [
            (ExitCodes::Plain, ExitStatus::FAILED, ExitStatus::USAGE),
            (ExitCodes::Create, ExitStatus::FAILED, ExitStatus::AGENT),
            (ExitCodes::Process, ExitStatus::AGENT, ExitStatus::AGENT),
        ];
        for (codes, on_failure, on_usage) in table {
            assert_eq!(codes.of(&failed), on_failure);
            assert_eq!(codes.of(&usage), on_usage);
        }
    }

    #[test]
    fn an_empty_message_is_replaced_by_the_codes_meaning() {
        let error = AgentError::from(Status::new(Code::Unavailable, ""));
        assert_eq!(error.to_string(), "the service is currently unavailable");
    }
}
