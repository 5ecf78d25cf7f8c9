//! A further process, its streams carried by messages.

use agent_core::exec::ExecSpec;
use agent_core::exec::session::{Control, SessionEnd};
use agent_shim_client::ExecStreams;
use bytes::Bytes;
use proto::agent;
use proto::agent::exec_input::Input as Message;
use proto::agent::stream_output::Output;
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::streams::{AHEAD, Input, Kind, Outgoing, message, pump};
use super::{Agent, OWNER};
use crate::convert::local;
use crate::status;

type Outputs = mpsc::Receiver<Result<agent::StreamOutput, Status>>;

fn spec(start: &agent::ExecStart) -> ExecSpec {
    let size = start.terminal_size.unwrap_or_default();
    ExecSpec {
        command: start.command.clone(),
        env: start.env.iter().map(|text| local::variable(text)).collect(),
        working_directory: crate::convert::given(start.working_dir.clone()),
        user: crate::convert::given(start.user.clone()),
        terminal: start.terminal.then(|| local::size_of(&size)),
        stdin: start.stdin && !start.detach,
        privileged: start.privileged,
        timeout: None,
    }
}

impl Agent {
    pub(super) async fn open_exec(
        &self,
        mut inputs: Streaming<agent::ExecInput>,
    ) -> Result<Outputs, Status> {
        let first = inputs.message().await?.and_then(|first| first.input);
        let Some(Message::Start(start)) = first else {
            return Err(status::invalid("the first message must be start"));
        };
        if start.command.is_empty() {
            return Err(status::invalid("command is empty"));
        }
        let session = self.node.exec(OWNER, &start.container, spec(&start)).await;
        let session =
            session.map_err(|error| status::with_exit_code(&error, error.program_exit_code()))?;
        let (streams, control, end) = session.into_parts();
        let (outgoing, outputs) = mpsc::channel(AHEAD);
        // There is room: nothing was sent yet.
        drop(outgoing.try_send(Ok(message(Output::Started(true)))));
        if start.detach {
            drop(streams);
            // Which has its output drained.
            drop(end);
            return Ok(outputs);
        }
        let (stdin, readers) = split(streams)?;
        let feeding = tokio::spawn(feed(inputs, stdin, control.clone()));
        tokio::spawn(async move {
            carry(readers, end, control, outgoing).await;
            feeding.abort();
        });
        Ok(outputs)
    }
}

/// Where output comes from.
type Readers = Vec<(std::os::fd::OwnedFd, Kind)>;

fn split(streams: ExecStreams) -> Result<(Input, Readers), Status> {
    match streams {
        ExecStreams::Pipes {
            stdin,
            stdout,
            stderr,
        } => Ok((
            Input::new(stdin),
            vec![(stdout, Kind::Stdout), (stderr, Kind::Stderr)],
        )),
        ExecStreams::Terminal(terminal) => {
            let copy = terminal
                .try_clone()
                .map_err(|error| Status::resource_exhausted(error.to_string()))?;
            Ok((Input::new(Some(copy)), vec![(terminal, Kind::Stdout)]))
        }
    }
}

/// Carries what the client sends to the process.
async fn feed(mut inputs: Streaming<agent::ExecInput>, mut stdin: Input, control: Control) {
    while let Ok(Some(input)) = inputs.message().await {
        match input.input {
            Some(Message::Stdin(data)) => stdin.write(Bytes::from(data)).await,
            Some(Message::CloseStdin(_)) => stdin.close(),
            Some(Message::Resize(size)) => {
                let (rows, columns) = local::size_of(&size);
                // The process may have ended meanwhile.
                drop(control.resize(rows, columns).await);
            }
            Some(Message::Signal(signal)) => drop(control.signal(signal).await),
            // The process keeps an input that does not end, until it does.
            Some(Message::Detach(_)) => std::future::pending().await,
            Some(Message::Start(_)) | None => {}
        }
    }
}

/// Carries what the process writes to the client, and its end.
async fn carry(readers: Readers, mut end: SessionEnd, control: Control, outgoing: Outgoing) {
    let mut pumps = tokio::task::JoinSet::new();
    let (ended, end_seen) = watch::channel(false);
    for (fd, kind) in readers {
        let (outgoing, end_seen) = (outgoing.clone(), Some(end_seen.clone()));
        pumps.spawn(async move { pump(fd, kind, &outgoing, end_seen).await });
    }
    let code = tokio::select! {
        code = end.wait() => code,
        () = outgoing.closed() => {
            // The client left: the process goes on, and what it writes is dropped.
            pumps.shutdown().await;
            drop(control.drain().await);
            drop(end.wait().await);
            return;
        }
    };
    ended.send_replace(true);
    while pumps.join_next().await.is_some() {}
    let last = code
        .map(|code| message(Output::ExitCode(code)))
        .map_err(|error| status::of(&error));
    // The client may have left.
    drop(outgoing.send(last).await);
}
