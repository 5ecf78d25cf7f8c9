//! Carries bytes both ways until the process has ended or the user has left.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use proto::agent::stream_output::Output as Received;
use proto::agent::{KillContainerRequest, LogEntry, StreamKind, StreamOutput};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::connection::{Connection, Message, Sent};
use super::input::{Typed, read_stdin};
use super::signals::{Caught, Signals};
use crate::client::Client;
use crate::error::CommandError;
use crate::output::{Output, OutputError};
use crate::terminal::{self, DetachKeys, Keyboard, Pressed};

/// So many requests to end, and `ctl` ends without the container.
const PATIENCE: usize = 3;

/// How long the agent has to hear that the client leaves.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// How the pump came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The process has ended with this code.
    Exited(i32),
    /// The user has left; the process goes on.
    Detached,
    /// A signal has ended `ctl`; the process goes on.
    Signalled(i32),
    /// The streams have ended, and the process's code was not told.
    Closed,
}

/// Why the pump stopped early.
#[derive(Debug)]
pub(crate) enum Broken {
    Agent(Status),
    Output(OutputError),
}

impl From<OutputError> for Broken {
    fn from(error: OutputError) -> Self {
        Self::Output(error)
    }
}

/// Where signals go.
#[derive(Debug)]
enum PassOn {
    /// Nowhere: they end the pump.
    Nothing,
    /// To the process at the other end of the call.
    Process,
    Container {
        client: Client,
        container: String,
    },
}

/// A connection joined with `ctl`'s own streams.
#[derive(Debug)]
pub(crate) struct Pump<M> {
    connection: Connection<M>,
    /// The agent may still send on the connection.
    attached: bool,
    logs: Option<Streaming<LogEntry>>,
    stdin: Option<mpsc::Receiver<Typed>>,
    keyboard: Option<Keyboard>,
    resizes: Option<Signal>,
    signals: Option<Signals>,
    pass_on: PassOn,
    unsent: VecDeque<Sent>,
    exit_code: Option<i32>,
    impatience: usize,
}

enum Event {
    Received(Result<Option<StreamOutput>, Status>),
    Logged(Result<Option<LogEntry>, Status>),
    Typed(Option<Typed>),
    Resized,
    Caught(Option<Caught>),
    Sent,
}

impl<M: Message> Pump<M> {
    /// Returns a pump for output alone.
    pub(crate) fn new(connection: Connection<M>) -> Self {
        Self {
            connection,
            attached: true,
            logs: None,
            stdin: None,
            keyboard: None,
            resizes: None,
            signals: None,
            pass_on: PassOn::Nothing,
            unsent: VecDeque::new(),
            exit_code: None,
            impatience: 0,
        }
    }

    /// Takes the output from `logs` too.
    pub(crate) fn with_logs(mut self, logs: Streaming<LogEntry>) -> Self {
        self.logs = Some(logs);
        self
    }

    /// Sends what comes from stdin.
    pub(crate) fn with_stdin(mut self) -> Result<Self, CommandError> {
        self.stdin = Some(read_stdin()?);
        Ok(self)
    }

    /// Leaves when `keys` are typed.
    pub(crate) fn with_keys(mut self, keys: DetachKeys) -> Self {
        self.keyboard = Some(Keyboard::new(keys));
        self
    }

    /// Tells the process the terminal's size, now and whenever it changes.
    pub(crate) fn with_resizes(mut self) -> Result<Self, CommandError> {
        let resizes = signal(SignalKind::window_change());
        self.resizes = Some(resizes.map_err(|source| CommandError::Runtime { source })?);
        self.resize();
        Ok(self)
    }

    /// Ends in order when a signal would end `ctl`.
    pub(crate) fn with_orderly_end(mut self) -> Result<Self, CommandError> {
        self.signals = Some(Signals::that_end()?);
        Ok(self)
    }

    /// Passes signals on to the process of this call.
    pub(crate) fn with_signals_to_process(mut self, signals: Signals) -> Self {
        self.signals = Some(signals);
        self.pass_on = PassOn::Process;
        self
    }

    /// Passes signals on to a container.
    pub(crate) fn with_signals_to(
        mut self,
        client: &Client,
        container: &str,
    ) -> Result<Self, CommandError> {
        self.signals = Some(Signals::to_pass_on()?);
        self.pass_on = PassOn::Container {
            client: client.clone(),
            container: container.to_owned(),
        };
        Ok(self)
    }

    /// Carries bytes until the end.
    pub(crate) async fn run(mut self, out: &mut Output) -> Result<End, Broken> {
        loop {
            let end = match self.next().await {
                Event::Received(message) => self.received(message, out)?,
                Event::Logged(entry) => self.logged(entry, out)?,
                Event::Typed(typed) => self.typed(typed),
                Event::Caught(caught) => self.caught(caught),
                Event::Resized => {
                    self.resize();
                    None
                }
                Event::Sent => None,
            };
            match end {
                Some(End::Detached) => {
                    self.leave().await;
                    return Ok(End::Detached);
                }
                Some(end) => return Ok(end),
                None => {}
            }
        }
    }

    /// Waits for whatever comes first. Input waits while something is unsent, and
    /// output never does: an agent that is slow to read keeps nothing else waiting.
    async fn next(&mut self) -> Event {
        tokio::select! {
            message = self.connection.received.message(), if self.attached => Event::Received(message),
            entry = entry_of(self.logs.as_mut()) => Event::Logged(entry),
            typed = typed_of(self.stdin.as_mut()), if self.unsent.is_empty() => Event::Typed(typed),
            Some(()) = resize_of(self.resizes.as_mut()) => Event::Resized,
            caught = caught_of(self.signals.as_mut()) => Event::Caught(caught),
            permit = self.connection.sender.reserve(), if !self.unsent.is_empty() => {
                match permit {
                    Ok(permit) => if let Some(message) = self.unsent.pop_front().and_then(M::carrying) {
                        permit.send(message);
                    },
                    // The process takes no more input.
                    Err(_) => {
                        self.unsent.clear();
                        self.stdin = None;
                    }
                }
                Event::Sent
            }
        }
    }

    fn received(
        &mut self,
        message: Result<Option<StreamOutput>, Status>,
        out: &mut Output,
    ) -> Result<Option<End>, Broken> {
        match message.map_err(Broken::Agent)? {
            Some(StreamOutput { output }) => match output {
                Some(Received::Stdout(bytes)) => out.stdout(&bytes)?,
                Some(Received::Stderr(bytes)) => out.stderr(&bytes)?,
                Some(Received::ExitCode(code)) => {
                    self.exit_code = Some(code);
                    self.attached = false;
                }
                Some(Received::Started(_)) | None => {}
            },
            None => self.attached = false,
        }
        Ok(self.end())
    }

    fn logged(
        &mut self,
        entry: Result<Option<LogEntry>, Status>,
        out: &mut Output,
    ) -> Result<Option<End>, Broken> {
        match entry.map_err(Broken::Agent)? {
            Some(entry) if entry.stream() == StreamKind::Stderr => out.stderr(&entry.data)?,
            Some(entry) => out.stdout(&entry.data)?,
            None => self.logs = None,
        }
        Ok(self.end())
    }

    /// Returns the end once nothing more can come.
    fn end(&self) -> Option<End> {
        match (self.attached, &self.logs, self.exit_code) {
            (false, None, Some(code)) => Some(End::Exited(code)),
            (false, None, None) => Some(End::Closed),
            _ => None,
        }
    }

    fn typed(&mut self, typed: Option<Typed>) -> Option<End> {
        match typed {
            Some(Typed::Bytes(bytes)) => {
                let pressed = match &mut self.keyboard {
                    Some(keyboard) => keyboard.press(&bytes),
                    None => Pressed::Bytes(bytes),
                };
                let (bytes, end) = match pressed {
                    Pressed::Bytes(bytes) => (bytes, None),
                    Pressed::Detach(bytes) => (bytes, Some(End::Detached)),
                };
                if !bytes.is_empty() {
                    self.unsent.push_back(Sent::Stdin(bytes));
                }
                return end;
            }
            Some(Typed::End) => self.unsent.push_back(Sent::CloseStdin),
            None => {}
        }
        self.stdin = None;
        None
    }

    fn resize(&mut self) {
        // Sizes that wait to be sent are outdated by this one.
        self.unsent.retain(|sent| !matches!(sent, Sent::Resize(_)));
        self.unsent.extend(terminal::size().map(Sent::Resize));
    }

    fn caught(&mut self, caught: Option<Caught>) -> Option<End> {
        let Some(caught) = caught else {
            self.signals = None;
            return None;
        };
        self.impatience += usize::from(caught.is_impatient());
        if self.impatience >= PATIENCE {
            return Some(End::Signalled(caught.number));
        }
        match &self.pass_on {
            PassOn::Nothing => return Some(End::Signalled(caught.number)),
            PassOn::Process => self.unsent.push_back(Sent::Signal(caught.number)),
            PassOn::Container { client, container } => {
                let request = KillContainerRequest {
                    container: container.clone(),
                    signal: caught.name.into(),
                };
                let mut containers = client.containers();
                // A container that has just ended cannot be sent one, which is as well.
                tokio::spawn(async move { containers.kill(request).await });
            }
        }
        None
    }

    /// Sends what was typed before the keys, and that the client leaves.
    async fn leave(mut self) {
        self.unsent.push_back(Sent::Detach);
        let Connection {
            sender,
            mut received,
        } = self.connection;
        let said = async move {
            for message in self.unsent.into_iter().filter_map(M::carrying) {
                if sender.send(message).await.is_err() {
                    return;
                }
            }
            drop(sender);
            while matches!(received.message().await, Ok(Some(_))) {}
        };
        let _ = tokio::time::timeout(LEAVE_TIME, said).await;
    }
}

async fn entry_of(logs: Option<&mut Streaming<LogEntry>>) -> Result<Option<LogEntry>, Status> {
    match logs {
        Some(logs) => logs.message().await,
        None => pending().await,
    }
}

async fn typed_of(stdin: Option<&mut mpsc::Receiver<Typed>>) -> Option<Typed> {
    match stdin {
        Some(stdin) => stdin.recv().await,
        None => pending().await,
    }
}

async fn resize_of(resizes: Option<&mut Signal>) -> Option<()> {
    match resizes {
        Some(resizes) => resizes.recv().await,
        None => pending().await,
    }
}

async fn caught_of(signals: Option<&mut Signals>) -> Option<Caught> {
    match signals {
        Some(signals) => signals.next().await,
        None => pending().await,
    }
}
