//! A client at a container's main process.

use agent_core::node::Attaching;
use agent_shim_client::{Attach, Attachment};
use bytes::Bytes;
use proto::agent;
use proto::agent::attach_input::Input as Message;
use proto::agent::stream_output::Output;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::streams::{AHEAD, Input, Kind, Outgoing, message, pump};
use super::{Agent, OWNER};
use crate::convert::local;
use crate::status;

type Outputs = mpsc::Receiver<Result<agent::StreamOutput, Status>>;

impl Agent {
    pub(super) async fn open_attach(
        &self,
        mut inputs: Streaming<agent::AttachInput>,
    ) -> Result<Outputs, Status> {
        let first = inputs.message().await?.and_then(|first| first.input);
        let Some(Message::Start(start)) = first else {
            return Err(status::invalid("the first message must be start"));
        };
        let wanted = Attach {
            stdin: start.stdin,
            stdout: start.stdout,
            stderr: start.stderr,
        };
        let attaching = self.node.attach(OWNER, &start.container, wanted).await;
        let attaching = attaching.map_err(|error| status::of(&error))?;
        let (outgoing, outputs) = mpsc::channel(AHEAD);
        // Whatever the container writes from here on is heard. There is room: nothing was sent yet.
        drop(outgoing.try_send(Ok(message(Output::Started(true)))));
        tokio::spawn(self.clone().attached(attaching, inputs, outgoing));
        Ok(outputs)
    }

    /// Carries everything until the container has ended or the client has left.
    async fn attached(
        self,
        attaching: Attaching,
        inputs: Streaming<agent::AttachInput>,
        outgoing: Outgoing,
    ) {
        let container = attaching.container.to_string();
        let ended = self.node.wait_container(OWNER, &container);
        let connected = tokio::select! {
            connected = attaching.connected() => connected,
            () = outgoing.closed() => return,
        };
        let attachment = match connected {
            Ok(attachment) => attachment,
            Err(error) => {
                // The client may have left.
                drop(outgoing.send(Err(status::of(&error))).await);
                return;
            }
        };
        let Attachment {
            stdin,
            stdout,
            stderr,
        } = attachment;
        let mut feeding = tokio::spawn(self.clone().feed(container.clone(), inputs, stdin));
        tokio::pin!(ended);
        let read = async {
            let out = async {
                match stdout {
                    Some(fd) => pump(fd, Kind::Stdout, &outgoing, None).await,
                    None => true,
                }
            };
            let err = async {
                match stderr {
                    Some(fd) => pump(fd, Kind::Stderr, &outgoing, None).await,
                    None => true,
                }
            };
            let (out, err) = tokio::join!(out, err);
            out && err
        };
        let present = read.await;
        let code = tokio::select! {
            exit = &mut ended, if present => exit.ok().map(|exit| exit.code),
            () = outgoing.closed() => {
                // A client that detached leaves the input open, until the container ends.
                tokio::select! {
                    _ = &mut ended => {}
                    _ = &mut feeding => {}
                }
                None
            }
        };
        feeding.abort();
        if let Some(code) = code {
            drop(outgoing.send(Ok(message(Output::ExitCode(code)))).await);
        }
    }

    /// Carries what the client sends to the container.
    async fn feed(
        self,
        container: String,
        mut inputs: Streaming<agent::AttachInput>,
        stdin: Option<std::os::fd::OwnedFd>,
    ) {
        let mut stdin = Input::new(stdin);
        while let Ok(Some(input)) = inputs.message().await {
            match input.input {
                Some(Message::Stdin(data)) => stdin.write(Bytes::from(data)).await,
                Some(Message::CloseStdin(_)) => stdin.close(),
                Some(Message::Resize(size)) => {
                    let (rows, columns) = local::size_of(&size);
                    // The container may have ended meanwhile.
                    drop(self.node.resize(OWNER, &container, rows, columns).await);
                }
                // The container keeps an input that does not end, until it does.
                Some(Message::Detach(_)) => std::future::pending().await,
                Some(Message::Start(_)) | None => {}
            }
        }
    }
}
