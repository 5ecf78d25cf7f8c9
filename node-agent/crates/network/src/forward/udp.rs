//! Datagrams, with a socket towards the sandbox for each sender.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::{JoinHandle, JoinSet};

use crate::port::{Protocol, Sharing, bound};

/// Senders remembered at once on a port; datagrams of others are dropped meanwhile.
const MAX_SESSIONS: usize = 256;
/// How long a sender is remembered after the sandbox's last answer.
const IDLE: Duration = Duration::from_secs(60);
/// Largest datagram.
const DATAGRAM: usize = 65_535;

/// Listens and serves until aborted.
pub(super) fn start(listen: SocketAddr, target: SocketAddr) -> io::Result<JoinHandle<()>> {
    let socket = bound(Protocol::Udp, listen, Sharing::AsForwarder)?;
    let socket = std::net::UdpSocket::from(socket);
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    Ok(tokio::spawn(serve(socket, target)))
}

async fn serve(outside: Arc<UdpSocket>, target: SocketAddr) {
    let mut sessions: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    // Dropped with this task, and every session with it.
    let mut answers: JoinSet<SocketAddr> = JoinSet::new();
    loop {
        tokio::select! {
            ready = outside.readable() => {
                if ready.is_err() {
                    continue;
                }
                let mut buffer = vec![0; DATAGRAM];
                while let Ok((length, sender)) = outside.try_recv_from(&mut buffer) {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    let Some(session) = session(&mut sessions, &mut answers, &outside, sender, target)
                    else {
                        continue;
                    };
                    // A datagram that does not go through is lost, as datagrams are.
                    let _ = session.send(datagram).await;
                }
            }
            Some(ended) = answers.join_next() => {
                if let Ok(sender) = ended {
                    sessions.remove(&sender);
                }
            }
        }
    }
}

/// Returns the socket of a sender, made at its first datagram.
fn session(
    sessions: &mut HashMap<SocketAddr, Arc<UdpSocket>>,
    answers: &mut JoinSet<SocketAddr>,
    outside: &Arc<UdpSocket>,
    sender: SocketAddr,
    target: SocketAddr,
) -> Option<Arc<UdpSocket>> {
    if let Some(session) = sessions.get(&sender) {
        return Some(Arc::clone(session));
    }
    if sessions.len() >= MAX_SESSIONS {
        return None;
    }
    let session = Arc::new(connect(target).ok()?);
    sessions.insert(sender, Arc::clone(&session));
    answers.spawn(answer(Arc::clone(&session), Arc::clone(outside), sender));
    Some(session)
}

fn connect(target: SocketAddr) -> io::Result<UdpSocket> {
    let any = match target {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(target)?;
    UdpSocket::from_std(socket)
}

/// Passes the sandbox's answers on until there are none for a while.
async fn answer(
    session: Arc<UdpSocket>,
    outside: Arc<UdpSocket>,
    sender: SocketAddr,
) -> SocketAddr {
    while let Ok(Ok(())) = tokio::time::timeout(IDLE, session.readable()).await {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            match session.try_recv(&mut buffer) {
                Ok(length) => {
                    let _ = outside
                        .send_to(buffer.get(..length).unwrap_or_default(), sender)
                        .await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Nobody listens inside: the sender learns nothing, as with any lost datagram.
                Err(_) => return sender,
            }
        }
    }
    sender
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_sender_gets_its_own_answers() {
        let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = inside.local_addr().unwrap();
        let free = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let listen = free.local_addr().unwrap();
        drop(free);
        let task = start(listen, target).unwrap();
        let mut buffer = [0; 32];
        for name in ["a", "b"] {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.send_to(name.as_bytes(), listen).await.unwrap();
            let (length, from) = inside.recv_from(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], name.as_bytes());
            inside
                .send_to(name.to_uppercase().as_bytes(), from)
                .await
                .unwrap();
            let length = client.recv(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], name.to_uppercase().as_bytes());
        }
        task.abort();
    }
}
