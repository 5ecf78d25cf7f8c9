//! Hearing that a client has left while what it sent is not being read.
//!
//! A reader that waits for room elsewhere does not see the end of its socket. The kernel tells it
//! apart from unread bytes.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A socket, watched for its peer's leaving.
#[derive(Debug, Clone)]
pub(crate) struct Hangup(Arc<OwnedFd>);

impl Hangup {
    /// Watches a socket, on a descriptor of its own.
    pub(crate) fn of(socket: impl AsFd) -> rustix::io::Result<Self> {
        rustix::io::fcntl_dupfd_cloexec(socket, 3).map(|fd| Self(Arc::new(fd)))
    }

    /// Returns once the peer has closed its side, or the connection is broken.
    pub(crate) async fn heard(&self) {
        // Registered for this wait alone, so that nobody is woken by bytes otherwise; a further
        // descriptor, as one can be registered once.
        let Ok(copy) = rustix::io::fcntl_dupfd_cloexec(&*self.0, 3) else {
            return std::future::pending().await;
        };
        let Ok(watched) = watch(copy) else {
            return std::future::pending().await;
        };
        while let Ok(mut guard) = watched.readable().await {
            if guard.ready().is_read_closed() || guard.ready().is_error() {
                return;
            }
            guard.clear_ready();
        }
    }
}

#[expect(
    deprecated,
    reason = "the sound constructor is unsafe; an OwnedFd always answers with the same descriptor"
)]
fn watch(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn leaving_is_heard_behind_unread_bytes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let hangup = Hangup::of(&server).unwrap();
        client.write_all(b"never read").await.unwrap();
        let heard = tokio::spawn(async move { hangup.heard().await });
        server.readable().await.unwrap();
        assert!(!heard.is_finished());
        drop(client);
        heard.await.unwrap();
    }
}
