//! Why a command failed, how that is put to people, and with which code `ctl` ends.
//!
//! An error's first line is its own message, the causes follow indented, and
//! then hints: what to do about it.

mod agent;
pub(crate) mod hints;
mod status;

use std::io;
use std::path::PathBuf;

use crate::output::OutputError;
use crate::parse::ParseError;
use crate::template::TemplateError;
use crate::terminal::TerminalError;

pub(crate) use agent::AgentError;
pub(crate) use status::{ExitCodes, ExitStatus};

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
        hint: Option<String>,
    },
    #[error("there is no {what} {name}")]
    NotFound {
        what: &'static str,
        name: String,
        near: Vec<String>,
    },
    #[error("the streams of container {container} are lost")]
    Lost {
        container: String,
        source: AgentError,
    },
    #[error("port {port} of container {container} is not published")]
    NotPublished { container: String, port: String },
    #[error("cannot listen on {address}")]
    Listen {
        address: std::net::SocketAddr,
        source: io::Error,
    },
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

    /// Adds what to do about a refusal, as `hint` makes it of what the agent said.
    pub(crate) fn hinted(mut self, about: impl FnOnce(&AgentError) -> Option<String>) -> Self {
        if let Self::Request { source, hint, .. } = &mut self
            && !source.is_connection()
        {
            // What is there already knows more.
            *hint = hint.take().or_else(|| about(source));
        }
        self
    }

    /// Returns 126 or 127 where the agent says that a program could not be executed.
    fn process_code(&self) -> Option<ExitStatus> {
        match self {
            Self::Request { source, .. } => source.process_code(),
            _ => None,
        }
    }

    /// Returns what to do about it, a line each; there is always something.
    pub(crate) fn hints(&self) -> Vec<String> {
        match self {
            Self::Host { .. } => vec!["give it as unix:///run/node-agent/node-agent.sock".into()],
            Self::Unreachable { source, .. } => hints::unreachable(source),
            Self::NotFound { near, what, .. } => hints::near(what, near),
            Self::Lost { container, .. } => {
                vec![format!(
                    "the container goes on; `ctl logs -f {container}` shows its output"
                )]
            }
            Self::Request {
                hint: Some(hint), ..
            } => vec![hint.clone()],
            Self::Request { source, .. } => hints::refused(source),
            Self::NotRunning { .. } => vec!["`ctl start -a` starts it and attaches".into()],
            Self::Usage { hint, .. } => vec![(*hint).into()],
            Self::Option { source, .. } => vec![source.hint()],
            Self::Template(error) => vec![error.hint()],
            Self::Terminal(error) => vec![error.hint().into()],
            Self::NotPublished { container, .. } => vec![format!(
                "`ctl port {container}` lists the ports that are, while it runs"
            )],
            Self::Listen { .. } => vec![hints::LISTEN.into()],
            Self::Incomplete { .. } => vec![hints::INCOMPLETE.into()],
            Self::File { .. } => vec![hints::FILE.into()],
            Self::Credentials { .. } => vec![hints::CREDENTIALS.into()],
            Self::Output(_) => vec![hints::OUTPUT.into()],
            Self::Runtime { .. } => vec![hints::RUNTIME.into()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Status;

    fn request(status: Status) -> CommandError {
        CommandError::Request {
            attempted: "container web cannot be started".into(),
            source: status.into(),
            hint: None,
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
}
