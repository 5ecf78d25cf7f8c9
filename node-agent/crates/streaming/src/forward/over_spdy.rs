//! Port-forward over SPDY: two streams for each connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::pairs::{Label, Pair, Pairs};
use super::{copy, failed};
use crate::backend::Backend;
use crate::inlet::Inlet;
use crate::outlet::Outlet;
use crate::spdy::Connection;
use crate::transport::Transport;

/// Streams that may be open at a time; two are a connection.
const MAX_STREAMS: usize = 1024;

/// Serves one client until it leaves. A stream whose other half does not come within `timeout` is
/// reset.
pub(crate) async fn serve<B: Backend>(
    backend: &Arc<B>,
    ticket: B::Ticket,
    transport: Transport,
    timeout: Duration,
) {
    let mut connection = Connection::open(transport, MAX_STREAMS);
    let ticket = Arc::new(ticket);
    let mut pairs = Pairs::default();
    let mut tick = tokio::time::interval(timeout.max(Duration::from_millis(1)));
    // Whatever is left of them ends with the client.
    let mut forwards = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept() => {
                let Some(stream) = stream else { break };
                match Label::of(stream.number, &stream.headers) {
                    Ok(label) => if let Some(pair) = pairs.add(label, stream) {
                        let forward = forward(Arc::clone(backend), Arc::clone(&ticket), pair);
                        forwards.spawn(forward);
                    },
                    Err(why) => {
                        tracing::debug!(error = %why, "port-forward stream refused");
                        stream.outflow.reset();
                    }
                }
            }
            Some(_) = forwards.join_next() => {}
            _ = tick.tick() => pairs.expire(timeout),
        }
    }
    connection.close().await;
}

/// Forwards one connection.
async fn forward<B: Backend>(backend: Arc<B>, ticket: Arc<B::Ticket>, pair: Pair) {
    let Pair { port, data, error } = pair;
    let (inlet, outlet) = (Inlet::Spdy(data.inflow), Outlet::Spdy(data.outflow));
    // Nothing comes on the error stream.
    let error = Outlet::Spdy(error.outflow);
    match backend.connect(&ticket, port).await {
        Ok(socket) => copy::both(socket, inlet, &outlet, &error).await,
        Err(failure) => {
            // The client may have left.
            let _ = error.say(&failed(port, &failure)).await;
            let _ = error.finish().await;
            let _ = outlet.finish().await;
        }
    }
}
