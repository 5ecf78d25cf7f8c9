//! One connection to a port of a container.

use proto::agent;
use proto::agent::forward_input::Input as Message;
use proto::agent::forward_output::Output;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::streams::{AHEAD, CHUNK};
use super::{Agent, OWNER};
use crate::status;

type Outgoing = mpsc::Sender<Result<agent::ForwardOutput, Status>>;
type Outputs = mpsc::Receiver<Result<agent::ForwardOutput, Status>>;

const fn message(output: Output) -> agent::ForwardOutput {
    agent::ForwardOutput {
        output: Some(output),
    }
}

impl Agent {
    pub(super) async fn open_forward(
        &self,
        mut inputs: Streaming<agent::ForwardInput>,
    ) -> Result<Outputs, Status> {
        let first = inputs.message().await?.and_then(|first| first.input);
        let Some(Message::Start(start)) = first else {
            return Err(status::invalid("the first message must be start"));
        };
        let port = u16::try_from(start.port).ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| status::invalid("port is not one of TCP's"))?;
        let connecting = self.node.connect_container(OWNER, &start.container, port);
        let socket = connecting.await.map_err(|error| status::of(&error))?;
        let (outgoing, outputs) = mpsc::channel(AHEAD);
        // There is room: nothing was sent yet.
        drop(outgoing.try_send(Ok(message(Output::Connected(true)))));
        let (reader, writer) = socket.into_split();
        tokio::spawn(async move {
            let both = async { tokio::join!(outward(reader, &outgoing), inward(inputs, writer)) };
            tokio::select! {
                _ = both => {}
                // A client that has left is heard by neither while nothing moves.
                () = outgoing.closed() => {}
            }
        });
        Ok(outputs)
    }
}

/// Sends what comes from the container, and its end.
async fn outward(mut reader: OwnedReadHalf, outgoing: &Outgoing) {
    loop {
        let mut data = Vec::with_capacity(CHUNK);
        let output = match reader.read_buf(&mut data).await {
            Ok(1..) => Output::Data(data),
            // A connection that was reset has ended too.
            Ok(0) | Err(_) => Output::Ended(true),
        };
        let over = matches!(output, Output::Ended(_));
        if outgoing.send(Ok(message(output))).await.is_err() || over {
            return;
        }
    }
}

/// Passes on what the client sends, and its end.
async fn inward(mut inputs: Streaming<agent::ForwardInput>, mut writer: OwnedWriteHalf) {
    while let Ok(Some(input)) = inputs.message().await {
        if let Some(Message::Data(data)) = input.input
            && writer.write_all(&data).await.is_err()
        {
            return;
        }
    }
    // The container may have closed first.
    drop(writer.shutdown().await);
}
