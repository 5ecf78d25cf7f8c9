//! Bytes between a client's stream of messages and pipes or a terminal.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use proto::agent::StreamOutput;
use proto::agent::stream_output::Output;

/// Bytes read at once.
pub(super) const CHUNK: usize = 32 << 10;

/// How long output is waited for once a process has ended: a grandchild may hold the pipe.
const QUIET: std::time::Duration = std::time::Duration::from_millis(200);

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

/// Hears whether the process that writes has ended; hears nothing where nobody says so.
pub(super) type Ended = Option<watch::Receiver<bool>>;

/// Returns once the process has ended and nothing came since for a while.
async fn quiet(ended: &mut Ended) {
    let told = match ended {
        Some(ended) => ended.wait_for(|ended| *ended).await.is_ok(),
        None => false,
    };
    if !told {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(QUIET).await;
}

/// Reads a pipe or a terminal and sends it on, until its end or until it is quiet after `ended`;
/// stops when the client is gone. The client may be as slow as it likes.
///
/// Returns whether the client is still there.
pub(super) async fn pump(fd: OwnedFd, kind: Kind, outgoing: &Outgoing, mut ended: Ended) -> bool {
    let Ok(mut receiver) = Receiver::from_owned_fd_unchecked(fd) else {
        return true;
    };
    loop {
        let mut data = Vec::with_capacity(CHUNK);
        let read = tokio::select! {
            biased;
            read = receiver.read_buf(&mut data) => read,
            () = outgoing.closed() => return false,
            () = quiet(&mut ended) => return true,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_client_gets_what_came_before_the_end() {
        let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let written = rustix::io::write(&theirs, &[1; 2 * CHUNK]).unwrap();
        let (outgoing, mut client) = mpsc::channel(1);
        let ended = watch::channel(true).1;
        let pumping =
            tokio::spawn(async move { pump(ours, Kind::Stdout, &outgoing, Some(ended)).await });
        // Until the second message waits for room, which the client does not make for longer than
        // output is waited for.
        while client.is_empty() {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        tokio::time::sleep(2 * QUIET).await;
        let mut count = 0;
        while let Some(message) = client.recv().await {
            let Some(Output::Stdout(data)) = message.unwrap().output else {
                continue;
            };
            count += data.len();
        }
        assert_eq!(count, written);
        // A grandchild holds the pipe still, and is not waited for.
        assert!(pumping.await.unwrap());
        drop(theirs);
    }
}
