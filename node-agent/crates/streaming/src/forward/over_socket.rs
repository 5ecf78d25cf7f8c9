//! Port-forward over a WebSocket: two channels for each port that the ticket names.
//!
//! Channel 2n carries the bytes of the n-th port and 2n+1 what went wrong; each begins with the
//! port's number in two bytes, the lower first.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{copy, failed};
use crate::backend::Backend;
use crate::command::protocol::codec;
use crate::inlet::Inlet;
use crate::outlet::Outlet;
use crate::socket::Channels;
use crate::transport::Transport;

/// Returns how many ports a WebSocket of this subprotocol has channels for.
pub(crate) fn most_ports(protocol: &str) -> usize {
    codec(protocol).channels() / 2
}

/// Serves one client, whose ports are at most [`most_ports`], until all its connections have ended or it has left.
pub(crate) async fn serve<B: Backend>(
    backend: &Arc<B>,
    ticket: B::Ticket,
    ports: &[u16],
    transport: Transport,
    protocol: &str,
) {
    let even = (0..=u8::MAX).step_by(2);
    let numbers: Vec<(u8, u16)> = even.zip(ports.iter().copied()).collect();
    let inputs: Vec<u8> = numbers.iter().map(|(channel, _)| *channel).collect();
    let (channels, inflows) = Channels::open(transport, codec(protocol), &inputs);
    let ticket = Arc::new(ticket);
    let mut forwards = JoinSet::new();
    for ((channel, port), inflow) in numbers.into_iter().zip(inflows) {
        let data = Outlet::Socket(channels.channel(channel));
        let error = Outlet::Socket(channels.channel(channel + 1));
        let (backend, ticket) = (Arc::clone(backend), Arc::clone(&ticket));
        forwards.spawn(async move {
            for outlet in [&data, &error] {
                // A client that has left is noticed below.
                let _ = outlet.say(&port.to_le_bytes()).await;
            }
            match backend.connect(&ticket, port).await {
                Ok(socket) => copy::both(socket, Inlet::Socket(inflow), &data, &error).await,
                Err(failure) => {
                    let _ = error.say(&failed(port, &failure)).await;
                }
            }
        });
    }
    let gone = channels.gone();
    tokio::select! {
        () = async { while forwards.join_next().await.is_some() {} } => {}
        () = gone.cancelled() => {}
    }
    drop(forwards);
    channels.close().await;
}
