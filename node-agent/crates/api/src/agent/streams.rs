//! Bytes between a client's stream of messages and pipes or a terminal.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::mpsc;
use tonic::Status;

use proto::agent::StreamOutput;
use proto::agent::stream_output::Output;

/// Bytes read at once.
const CHUNK: usize = 32 << 10;

/// How long output is waited for once a process has ended.
pub(super) const DRAIN: std::time::Duration = std::time::Duration::from_millis(200);

/// Messages that may wait for a client.
pub(super) const AHEAD: usize = 16;

/// Where messages for the client go.
pub(super) type Outgoing = mpsc::Sender<Result<StreamOutput, Status>>;

/// Returns a message.
pub(super) const fn message(output: Output) -> StreamOutput {
    StreamOutput {
        output: Some(output),
    }
}

/// Which stream bytes came from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Stdout,
    Stderr,
}

impl Kind {
    const fn output(self, data: Vec<u8>) -> Output {
        match self {
            Self::Stdout => Output::Stdout(data),
            Self::Stderr => Output::Stderr(data),
        }
    }
}

/// Reads a pipe or a terminal to its end and sends it on; stops when the client is gone.
///
/// Returns whether the client is still there.
pub(super) async fn pump(fd: OwnedFd, kind: Kind, outgoing: &Outgoing) -> bool {
    let Ok(mut receiver) = Receiver::from_owned_fd_unchecked(fd) else {
        return true;
    };
    loop {
        let mut data = Vec::with_capacity(CHUNK);
        let read = tokio::select! {
            read = receiver.read_buf(&mut data) => read,
            () = outgoing.closed() => return false,
        };
        match read {
            // A terminal whose last process has ended gives EIO in place of an end.
            Ok(0) | Err(_) => return true,
            Ok(_) => {}
        }
        if outgoing.send(Ok(message(kind.output(data)))).await.is_err() {
            return false;
        }
    }
}

/// Writes what a client sends to a pipe or a terminal.
#[derive(Debug)]
pub(super) struct Input(Option<Sender>);

impl Input {
    pub(super) fn new(fd: Option<OwnedFd>) -> Self {
        Self(fd.and_then(|fd| Sender::from_owned_fd_unchecked(fd).ok()))
    }

    /// Writes; what nobody reads any more is dropped, as a shell's pipe would have it.
    pub(super) async fn write(&mut self, data: Bytes) {
        if let Some(sender) = &mut self.0
            && sender.write_all(&data).await.is_err()
        {
            self.0 = None;
        }
    }

    /// Ends the input.
    pub(super) fn close(&mut self) {
        self.0 = None;
    }
}
