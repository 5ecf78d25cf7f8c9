//! A container in the foreground.

use proto::agent::{
    AttachInput, AttachStart, LogEntry, LogsRequest, WaitContainerRequest, WaitContainerResponse,
};
use tokio::task::JoinHandle;
use tonic::{Status, Streaming};

use super::connection::Connection;
use super::pump::{Broken, End, Pump};
use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;
use crate::terminal::{DetachKeys, RawTerminal, TerminalError, stdin_is_terminal};

/// Which of a container's streams are joined with `ctl`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// Where a container's output is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputFrom {
    /// The streams themselves, from now on.
    Streams,
    /// The log from its beginning: it keeps what a slow reader has yet to read.
    Log,
}

/// What is wanted of a container in the foreground.
#[derive(Debug)]
pub(crate) struct Foreground<'a> {
    pub(crate) client: &'a Client,
    pub(crate) container: String,
    /// The container has a terminal.
    pub(crate) terminal: bool,
    pub(crate) streams: Streams,
    pub(crate) output: OutputFrom,
    pub(crate) keys: DetachKeys,
    /// Signals to `ctl` are the container's.
    pub(crate) passes_signals: bool,
}

/// A container whose streams are connected, running or not.
#[derive(Debug)]
pub(crate) struct Connected<'a> {
    wanted: Foreground<'a>,
    pump: Pump<AttachInput>,
    waiting: Option<JoinHandle<Result<WaitContainerResponse, Status>>>,
}

impl<'a> Foreground<'a> {
    /// Fails if a terminal is wanted for which there is none.
    pub(crate) fn check_terminal(terminal: bool, stdin: bool) -> Result<(), TerminalError> {
        if terminal && stdin && !stdin_is_terminal() {
            Err(TerminalError::Missing)
        } else {
            Ok(())
        }
    }

    /// Connects the streams; what the container does from here on is not missed.
    pub(crate) async fn connect(self) -> Result<Connected<'a>, CommandError> {
        let Streams {
            stdin,
            stdout,
            stderr,
        } = self.streams;
        let from_log = self.output == OutputFrom::Log;
        let start = AttachStart {
            container: self.container.clone(),
            stdin,
            stdout: stdout && !from_log,
            stderr: stderr && !from_log,
        };
        let mut pump = Pump::new(Connection::attach(self.client, start).await?);
        let mut waiting = None;
        if from_log {
            if let Some(logs) = self.logs().await? {
                pump = pump.with_logs(logs);
            }
            // Asked now, while the container is sure to be there.
            waiting = Some(tokio::spawn(wait(
                self.client.clone(),
                self.container.clone(),
            )));
        }
        if self.passes_signals && !self.terminal {
            pump = pump.with_signals_to(self.client, &self.container)?;
        }
        Ok(Connected {
            wanted: self,
            pump,
            waiting,
        })
    }

    async fn logs(&self) -> Result<Option<Streaming<LogEntry>>, CommandError> {
        let Streams { stdout, stderr, .. } = self.streams;
        if !stdout && !stderr {
            return Ok(None);
        }
        let container = self.container.clone();
        let request = LogsRequest {
            container,
            follow: true,
            stdout,
            stderr,
            ..Default::default()
        };
        let answer = self.client.containers().logs(request).await;
        let logs = self
            .client
            .of_container(&self.container, "has no log to follow", answer)
            .await?;
        Ok(Some(logs))
    }
}

impl Connected<'_> {
    /// Carries bytes until the container has ended or the user has left.
    pub(crate) async fn run(self, out: &mut Output) -> Result<ExitStatus, CommandError> {
        let Self {
            wanted,
            mut pump,
            waiting,
        } = self;
        let mut raw = None;
        if wanted.terminal && wanted.streams.stdin {
            raw = Some(RawTerminal::enter()?);
            pump = pump.with_keys(wanted.keys).with_orderly_end()?;
        }
        if wanted.terminal {
            pump = pump.with_resizes()?;
        }
        if wanted.streams.stdin {
            pump = pump.with_stdin()?;
        }
        let end = pump.run(out).await;
        let was_raw = raw.take().is_some();
        let lost = |status: Status| CommandError::Lost {
            container: wanted.container.clone(),
            source: status.into(),
        };
        match end {
            Ok(End::Exited(code)) => Ok(ExitStatus::of_process(code)),
            Ok(End::Detached) => {
                if was_raw {
                    // The shell's prompt is to begin a line.
                    out.message("");
                }
                Ok(ExitStatus::DONE)
            }
            Ok(End::Signalled(number)) => Ok(ExitStatus::of_signal(number)),
            Ok(End::Closed) => {
                let answer = match waiting {
                    Some(waiting) => waiting
                        .await
                        .unwrap_or_else(|error| Err(Status::from_error(error.into()))),
                    None => wait(wanted.client.clone(), wanted.container.clone()).await,
                };
                let ended = answer.map_err(lost)?;
                if !ended.error.is_empty() {
                    out.warning(&ended.error);
                }
                Ok(ExitStatus::of_process(ended.exit_code))
            }
            Err(Broken::Agent(status)) => Err(lost(status)),
            Err(Broken::Output(error)) => Err(error.into()),
        }
    }
}

async fn wait(client: Client, container: String) -> Result<WaitContainerResponse, Status> {
    let answer = client
        .containers()
        .wait(WaitContainerRequest { container })
        .await?;
    Ok(answer.into_inner())
}
