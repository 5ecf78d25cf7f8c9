//! Connections, copied in both directions.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use crate::port::{Protocol, Sharing, bound};

/// Connections served at once on a port; the next ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// How long a sandbox may take to accept.
const CONNECT: Duration = Duration::from_secs(10);
/// Pause after a failure to accept, such as a lack of descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Listens and serves until aborted.
pub(super) fn start(listen: SocketAddr, target: SocketAddr) -> io::Result<JoinHandle<()>> {
    let socket = bound(Protocol::Tcp, listen, Sharing::AsForwarder)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let listener = TcpListener::from(socket);
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(tokio::spawn(serve(listener, target)))
}

async fn serve(listener: tokio::net::TcpListener, target: SocketAddr) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((client, _)) => {
                    connections.spawn(copy(client, target));
                }
                Err(error) => {
                    tracing::debug!(error = %error, "forwarded connection was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn copy(mut client: TcpStream, target: SocketAddr) {
    let Ok(Ok(mut sandbox)) = tokio::time::timeout(CONNECT, TcpStream::connect(target)).await
    else {
        return;
    };
    // Neither side of the copy should wait for the other's small pieces.
    let _ = (client.set_nodelay(true), sandbox.set_nodelay(true));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut sandbox).await {
        tracing::debug!(error = %error, "forwarded connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn bytes_pass_both_ways_and_ends_too() {
        let inside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = inside.local_addr().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = free.local_addr().unwrap();
        drop(free);
        let task = start(listen, target).unwrap();
        let mut client = TcpStream::connect(listen).await.unwrap();
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let (mut server, _) = inside.accept().await.unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "question");
        server.write_all(b"answer").await.unwrap();
        drop(server);
        text.clear();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "answer");
        task.abort();
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = start(held.local_addr().unwrap(), held.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
