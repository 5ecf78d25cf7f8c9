//! Bytes between descriptors and a client.

use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::BufMut as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::watch;

use crate::inlet::Inlet;
use crate::outlet::{Outlet, ROOM};

/// Most bytes read at once.
const CHUNK: usize = 64 << 10;

/// Room that an output's pipe gets, where the kernel allows it: the process goes on writing while
/// what it wrote is on its way.
const PIPE: usize = 256 << 10;

/// How long output is waited for once the process has ended: a grandchild may hold the pipe.
const QUIET: Duration = Duration::from_millis(200);

/// Carries a pipe or a terminal to the client until its end, or until it is quiet after `ended`
/// has become true. What the client does not want is read and dropped; the process is not held up.
pub(super) async fn outward(fd: OwnedFd, outlet: Option<Outlet>, mut ended: watch::Receiver<bool>) {
    // A terminal has no such size; then it stays as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(&fd, PIPE);
    let Ok(source) = Receiver::from_owned_fd_unchecked(fd) else {
        return;
    };
    let mut listener = outlet;
    loop {
        let over = tokio::select! {
            biased;
            ready = source.readable() => match ready {
                Ok(()) => pass(&source, &mut listener).await,
                Err(_) => Over::Yes,
            },
            () = quiet(&mut ended) => Over::Yes,
        };
        if over == Over::Yes {
            break;
        }
    }
    if let Some(outlet) = listener {
        // The client may have left.
        let _ = outlet.finish().await;
    }
}

/// Whether a stream is at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Yes,
    NotYet,
}

/// Passes on all there is for now.
async fn pass(source: &Receiver, listener: &mut Option<Outlet>) -> Over {
    // Made when there is something to read, so that an idle stream holds no memory.
    let mut buffer = Vec::with_capacity(ROOM + CHUNK);
    loop {
        let room = match listener {
            Some(outlet) => outlet.reserve(CHUNK).await,
            None => Ok(CHUNK),
        };
        let Ok(room) = room else {
            *listener = None;
            continue;
        };
        buffer.clear();
        buffer.resize(ROOM, 0);
        let read = source.try_read_buf(&mut (&mut buffer).limit(room));
        if let Some(outlet) = listener {
            outlet.settle(room, *read.as_ref().unwrap_or(&0));
        }
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Over::NotYet,
            // A terminal whose last process has ended gives EIO in place of an end.
            Ok(0) | Err(_) => return Over::Yes,
            Ok(_) => {}
        }
        if let Some(outlet) = listener
            && outlet.send(&mut buffer).await.is_err()
        {
            *listener = None;
        }
    }
}

/// Returns when the process has ended and nothing came since for a while.
async fn quiet(ended: &mut watch::Receiver<bool>) {
    if ended.wait_for(|ended| *ended).await.is_err() {
        // Nobody will say it any more: the session itself is over.
        return;
    }
    tokio::time::sleep(QUIET).await;
}

/// Carries what the client sends to a pipe or a terminal, and ends that with the client's end.
pub(super) async fn inward(mut inlet: Inlet, fd: OwnedFd) {
    let Ok(mut sink) = Sender::from_owned_fd_unchecked(fd) else {
        return;
    };
    while let Some(bytes) = inlet.next().await {
        if sink.write_all(&bytes).await.is_err() {
            // Nobody reads any more; what comes is dropped, as a shell's pipe would have it.
            return;
        }
    }
}
