//! The two streaming calls that join streams, under one shape.

use proto::agent::attach_input::Input as AttachMessage;
use proto::agent::exec_input::Input as ExecMessage;
use proto::agent::stream_output::Output as Received;
use proto::agent::{AttachInput, AttachStart, ExecInput, ExecStart, StreamOutput, TerminalSize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use crate::client::Client;
use crate::error::{CommandError, hints};

/// Messages on their way to the agent; the agent's own flow control counts bytes.
const QUEUE: usize = 8;

/// What can be sent on a call once it has begun.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sent {
    Stdin(Vec<u8>),
    CloseStdin,
    Resize(TerminalSize),
    Detach,
    /// A signal for the process, by number; only of an exec.
    Signal(i32),
}

/// A message of one of the two calls.
pub(crate) trait Message: Sized + Send + 'static {
    /// Returns the message that carries `sent`, if the call has one for it.
    #[expect(private_interfaces, reason = "only the pump sends")]
    fn carrying(sent: Sent) -> Option<Self>;
}

impl Message for AttachInput {
    #[expect(private_interfaces, reason = "only the pump sends")]
    fn carrying(sent: Sent) -> Option<Self> {
        let input = match sent {
            Sent::Stdin(bytes) => AttachMessage::Stdin(bytes),
            Sent::CloseStdin => AttachMessage::CloseStdin(true),
            Sent::Resize(size) => AttachMessage::Resize(size),
            Sent::Detach => AttachMessage::Detach(true),
            Sent::Signal(_) => return None,
        };
        Some(Self { input: Some(input) })
    }
}

impl Message for ExecInput {
    #[expect(private_interfaces, reason = "only the pump sends")]
    fn carrying(sent: Sent) -> Option<Self> {
        let input = match sent {
            Sent::Stdin(bytes) => ExecMessage::Stdin(bytes),
            Sent::CloseStdin => ExecMessage::CloseStdin(true),
            Sent::Resize(size) => ExecMessage::Resize(size),
            Sent::Detach => ExecMessage::Detach(true),
            Sent::Signal(number) => ExecMessage::Signal(number),
        };
        Some(Self { input: Some(input) })
    }
}

/// A call under way.
#[derive(Debug)]
pub(crate) struct Connection<M> {
    pub(super) sender: mpsc::Sender<M>,
    pub(super) received: Streaming<StreamOutput>,
}

impl Connection<AttachInput> {
    /// Attaches to a container and returns when nothing of its streams is lost any more.
    pub(crate) async fn attach(client: &Client, start: AttachStart) -> Result<Self, CommandError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let container = start.container.clone();
        // The queue is empty and both ends are here.
        let _ = sender.try_send(AttachInput {
            input: Some(AttachMessage::Start(start)),
        });
        let answer = client
            .containers()
            .attach(ReceiverStream::new(receiver))
            .await;
        let answer = started(answer).await;
        let received = client
            .of_container(&container, "cannot be attached to", answer)
            .await?;
        Ok(Self { sender, received })
    }
}

impl Connection<ExecInput> {
    /// Runs a process and returns when it has started.
    pub(crate) async fn exec(client: &Client, start: ExecStart) -> Result<Self, CommandError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let container = start.container.clone();
        let program = start.command.first().cloned().unwrap_or_default();
        let elsewhere = !start.working_dir.is_empty();
        let _ = sender.try_send(ExecInput {
            input: Some(ExecMessage::Start(start)),
        });
        let answer = client
            .containers()
            .exec(ReceiverStream::new(receiver))
            .await;
        let answer = started(answer).await;
        let attempted = format!("cannot run {program}");
        let answer = client.of_container(&container, &attempted, answer).await;
        let received = answer.map_err(|error| {
            error.hinted(|source| {
                let hint = match elsewhere {
                    true => hints::not_started_there(source),
                    false => hints::not_started(source),
                };
                hint.or_else(|| hints::not_running(source, &container))
            })
        })?;
        Ok(Self { sender, received })
    }
}

/// Waits for the message that says that the streams are connected.
async fn started(
    answer: Result<Response<Streaming<StreamOutput>>, Status>,
) -> Result<Response<Streaming<StreamOutput>>, Status> {
    let mut response = answer?;
    match response
        .get_mut()
        .message()
        .await?
        .and_then(|message| message.output)
    {
        Some(Received::Started(_)) => Ok(response),
        _ => Err(Status::internal(
            "the agent did not say that the streams are connected",
        )),
    }
}
