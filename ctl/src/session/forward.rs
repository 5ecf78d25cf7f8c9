//! One connection of a client here to a port of a container.

use proto::agent::forward_input::Input;
use proto::agent::forward_output::Output;
use proto::agent::{ForwardInput, ForwardOutput, ForwardStart};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::client::Client;
use crate::error::CommandError;

/// Messages on their way to the agent, and bytes read at once.
const QUEUE: usize = 8;
const CHUNK: usize = 32 << 10;

const fn message(input: Input) -> ForwardInput {
    ForwardInput { input: Some(input) }
}

/// Carries a connection to its end.
pub(crate) async fn forward(
    client: Client,
    container: String,
    port: u16,
    socket: TcpStream,
) -> Result<(), CommandError> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let start = ForwardStart {
        container,
        port: port.into(),
    };
    // The queue is empty and both ends are here.
    let _ = sender.try_send(message(Input::Start(start)));
    let failed = |status| client.failed(format!("cannot forward to port {port}"), status);
    let answer = client
        .containers()
        .forward(ReceiverStream::new(receiver))
        .await;
    let received = answer.map_err(failed)?.into_inner();
    let (reader, writer) = socket.into_split();
    let up = up(reader, sender);
    let down = down(received, writer);
    tokio::pin!(up, down);
    tokio::select! {
        // Once the agent has ended the call, nobody takes the rest.
        ended = &mut down => ended,
        () = &mut up => down.await,
    }
    .map_err(failed)
}

/// Sends what the client here says; its end is the end of the messages.
async fn up(mut reader: OwnedReadHalf, sender: mpsc::Sender<ForwardInput>) {
    loop {
        let mut data = Vec::with_capacity(CHUNK);
        match reader.read_buf(&mut data).await {
            Ok(1..) if sender.send(message(Input::Data(data))).await.is_ok() => {}
            _ => return,
        }
    }
}

/// Passes on what the container says, and its end.
async fn down(
    mut received: Streaming<ForwardOutput>,
    mut writer: OwnedWriteHalf,
) -> Result<(), Status> {
    while let Some(message) = received.message().await? {
        let passed = match message.output {
            Some(Output::Data(data)) => writer.write_all(&data).await,
            Some(Output::Ended(_)) => writer.shutdown().await,
            Some(Output::Connected(_)) | None => Ok(()),
        };
        if passed.is_err() {
            // The client here has gone.
            return Ok(());
        }
    }
    Ok(())
}
