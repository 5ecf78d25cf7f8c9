//! The streaming side of the fake's containers.

use proto::agent::attach_input::Input as AttachMessage;
use proto::agent::exec_input::Input as ExecMessage;
use proto::agent::forward_input::Input as ForwardMessage;
use proto::agent::forward_output::Output as Forwarded;
use proto::agent::stream_output::Output as Streamed;
use proto::agent::{
    AttachInput, AttachStart, ExecInput, ExecStart, ForwardInput, ForwardOutput, LogEntry,
    LogsRequest, StreamKind, StreamOutput, TerminalSize,
};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::{AttachEnd, Behaviour, FakeContainer, Shared};

pub(super) fn exec_line(start: &ExecStart) -> String {
    let mut line = format!("{} [{}]", start.container, start.command.join(" "));
    let flags = [
        ("terminal", start.terminal),
        ("stdin", start.stdin),
        ("privileged", start.privileged),
        ("detach", start.detach),
    ];
    for (name, _) in flags.iter().filter(|(_, on)| *on) {
        line.push(' ');
        line.push_str(name);
    }
    for (name, value) in [
        ("env", start.env.join(",")),
        ("dir", start.working_dir.clone()),
        ("user", start.user.clone()),
    ] {
        if !value.is_empty() {
            line.push_str(&format!(" {name}={value}"));
        }
    }
    line
}

pub(super) async fn ended(exit: &mut watch::Receiver<Option<i32>>) -> i32 {
    exit.wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|code| *code)
        .unwrap_or(255)
}

pub(super) async fn send_log(
    request: LogsRequest,
    mut log: watch::Receiver<Vec<LogEntry>>,
    mut exit: watch::Receiver<Option<i32>>,
    sender: mpsc::Sender<Result<LogEntry, Status>>,
) {
    let mut sent = 0;
    let wanted = |entry: &LogEntry| match entry.stream() {
        StreamKind::Stderr => request.stderr,
        _ => request.stdout,
    };
    loop {
        let is_over = !request.follow || exit.borrow_and_update().is_some();
        let entries: Vec<_> = log.borrow_and_update().clone();
        if let (0, Some(tail)) = (sent, request.tail) {
            sent = entries
                .len()
                .saturating_sub(usize::try_from(tail).expect("few"));
        }
        for entry in entries.iter().skip(sent).filter(|entry| wanted(entry)) {
            if sender.send(Ok(entry.clone())).await.is_err() {
                return;
            }
        }
        sent = entries.len();
        if is_over {
            return;
        }
        tokio::select! {
            _ = log.changed() => {}
            _ = exit.changed() => {}
            () = sender.closed() => return,
        }
    }
}

pub(super) fn streamed(output: Streamed) -> Result<StreamOutput, Status> {
    Ok(StreamOutput {
        output: Some(output),
    })
}

/// What an attached client has seen of a container.
pub(super) struct Seen {
    log: watch::Receiver<Vec<LogEntry>>,
    exit: watch::Receiver<Option<i32>>,
    entries: usize,
    /// It had ended before, and is about to be started again.
    has_ended: bool,
    /// What is heard at its end.
    end: AttachEnd,
}

impl Seen {
    pub(super) fn now(container: &FakeContainer, end: AttachEnd) -> Self {
        let (log, exit) = (container.log.subscribe(), container.exit.subscribe());
        let (entries, has_ended) = (log.borrow().len(), exit.borrow().is_some());
        Self {
            log,
            exit,
            entries,
            has_ended,
            end,
        }
    }
}

/// Sends a container's output and its end.
pub(super) async fn send_streams(
    seen: Seen,
    start: AttachStart,
    sender: mpsc::Sender<Result<StreamOutput, Status>>,
) {
    let Seen {
        mut log,
        mut exit,
        entries: mut sent,
        has_ended,
        end,
    } = seen;
    let _ = sender.send(streamed(Streamed::Started(true))).await;
    if has_ended {
        let _ = exit.changed().await;
    }
    loop {
        let code = *exit.borrow_and_update();
        let entries: Vec<_> = log.borrow_and_update().clone();
        for entry in entries.into_iter().skip(sent) {
            sent += 1;
            let output = match entry.stream() {
                StreamKind::Stderr if start.stderr => Streamed::Stderr(entry.data),
                StreamKind::Stdout if start.stdout => Streamed::Stdout(entry.data),
                _ => continue,
            };
            let _ = sender.send(streamed(output)).await;
        }
        if let Some(code) = code {
            let end = match end {
                AttachEnd::Code => streamed(Streamed::ExitCode(code)),
                AttachEnd::Silence => return,
                AttachEnd::Failure => Err(Status::unavailable("the agent stops")),
            };
            let _ = sender.send(end).await;
            return;
        }
        tokio::select! {
            _ = log.changed() => {}
            _ = exit.changed() => {}
            () = sender.closed() => return,
        }
    }
}

pub(super) fn size_line(size: TerminalSize) -> String {
    format!("{}x{}", size.rows, size.columns)
}

/// Takes what a client sends to a container.
pub(super) async fn take_input(shared: Shared, name: String, mut input: Streaming<AttachInput>) {
    while let Ok(Some(message)) = input.message().await {
        match message.input {
            Some(AttachMessage::Stdin(bytes)) => {
                shared.note(format!(
                    "Attach {name}: stdin {:?}",
                    String::from_utf8_lossy(&bytes)
                ));
                shared.with(|fake| {
                    if let Ok(container) = fake.find(&name)
                        && matches!(container.behaviour, Behaviour::Echoes)
                    {
                        container.write(StreamKind::Stdout, &bytes);
                    }
                });
            }
            Some(AttachMessage::CloseStdin(_)) => {
                shared.note(format!("Attach {name}: close"));
                shared.with(|fake| {
                    if let Ok(container) = fake.find(&name)
                        && matches!(container.behaviour, Behaviour::Echoes)
                    {
                        container.exit.send_replace(Some(0));
                    }
                });
            }
            Some(AttachMessage::Resize(size)) => {
                shared.note(format!("Attach {name}: resize {}", size_line(size)))
            }
            Some(AttachMessage::Detach(_)) => {
                shared.note(format!("Attach {name}: detach"));
                return;
            }
            Some(AttachMessage::Start(_)) | None => {}
        }
    }
}

/// Plays a process that `exec` runs.
pub(super) async fn run_exec(
    shared: Shared,
    start: ExecStart,
    mut input: Streaming<ExecInput>,
    sender: mpsc::Sender<Result<StreamOutput, Status>>,
) {
    let (behaviour, output) = shared.with(|fake| (fake.behaviour.clone(), fake.output.clone()));
    let _ = sender.send(streamed(Streamed::Started(true))).await;
    for (stream, data) in output {
        let output = match stream {
            StreamKind::Stderr => Streamed::Stderr(data.to_vec()),
            _ => Streamed::Stdout(data.to_vec()),
        };
        let _ = sender.send(streamed(output)).await;
    }
    let behaviour = behaviour.unwrap_or(Behaviour::Ends(0));
    if let Behaviour::Ends(code) = behaviour {
        let _ = sender.send(streamed(Streamed::ExitCode(code))).await;
        return;
    }
    let name = &start.container;
    while let Ok(Some(message)) = input.message().await {
        let code = match message.input {
            Some(ExecMessage::Stdin(bytes)) => {
                shared.note(format!(
                    "Exec {name}: stdin {:?}",
                    String::from_utf8_lossy(&bytes)
                ));
                if matches!(behaviour, Behaviour::Echoes) {
                    let _ = sender.send(streamed(Streamed::Stdout(bytes))).await;
                }
                continue;
            }
            Some(ExecMessage::CloseStdin(_)) => 0,
            Some(ExecMessage::Signal(number)) => 128 + number,
            Some(ExecMessage::Resize(size)) => {
                shared.note(format!("Exec {name}: resize {}", size_line(size)));
                continue;
            }
            Some(ExecMessage::Detach(_)) => {
                shared.note(format!("Exec {name}: detach"));
                return;
            }
            Some(ExecMessage::Start(_)) | None => continue,
        };
        let _ = sender.send(streamed(Streamed::ExitCode(code))).await;
        return;
    }
}

/// Plays a port where somebody says everything again, and ends when the client has.
pub(super) async fn echo(
    mut input: Streaming<ForwardInput>,
    sender: mpsc::Sender<Result<ForwardOutput, Status>>,
) {
    let send = |output| {
        sender.send(Ok(ForwardOutput {
            output: Some(output),
        }))
    };
    let _ = send(Forwarded::Connected(true)).await;
    while let Ok(Some(message)) = input.message().await {
        if let Some(ForwardMessage::Data(data)) = message.input {
            let _ = send(Forwarded::Data(data)).await;
        }
    }
    let _ = send(Forwarded::Ended(true)).await;
}
