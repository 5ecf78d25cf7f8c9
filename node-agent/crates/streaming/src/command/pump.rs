//! Bytes between descriptors and a client.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::watch;

use crate::inlet::Inlet;
use crate::outlet::Outlet;
use crate::relay::{self, Over};
use crate::transport::Gone;

/// Room that an output's pipe gets, where the kernel allows it: the process goes on writing while
/// what it wrote is on its way.
const PIPE: usize = 256 << 10;

/// How long output is waited for once the process has ended: a grandchild may hold the pipe.
const QUIET: Duration = Duration::from_millis(200);

/// Carries a pipe or a terminal to the client until its end, or until it is quiet after `ended`
/// has become true. What the client does not want is read and dropped; the process is not held up.
pub(super) async fn outward(fd: OwnedFd, outlet: Option<Outlet>, mut ended: watch::Receiver<bool>) {
    // A terminal has no such size, and then stays as it is; as does a pipe that has more.
    if rustix::pipe::fcntl_getpipe_size(&fd).is_ok_and(|size| size < PIPE) {
        let _ = rustix::pipe::fcntl_setpipe_size(&fd, PIPE);
    }
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

/// Passes on all there is for now; drops it where nobody listens any more.
async fn pass(source: &Receiver, listener: &mut Option<Outlet>) -> Over {
    if let Some(outlet) = listener {
        match relay::pass(source, outlet).await {
            Ok(over) => return over,
            Err(Gone) => *listener = None,
        }
    }
    relay::discard(source)
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
