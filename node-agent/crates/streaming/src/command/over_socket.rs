//! A remote command over a WebSocket: one channel a stream.

use std::sync::Arc;

use crate::backend::{Backend, Streams};
use crate::command::protocol::{Version, codec};
use crate::command::session::{self, Client};
use crate::inlet::Inlet;
use crate::outlet::{Outlet, ROOM};
use crate::socket::{Channel, Channels};
use crate::transport::Transport;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// Serves one client.
pub(crate) async fn serve<B: Backend>(
    backend: &Arc<B>,
    ticket: B::Ticket,
    granted: Streams,
    transport: Transport,
    protocol: &str,
) {
    let (channels, inflows) = Channels::open(transport, codec(protocol), &[STDIN, RESIZE]);
    let mut inflows = inflows.into_iter().map(Inlet::Socket);
    let (stdin, resize) = (inflows.next(), inflows.next());
    let outlet = |wanted: bool, number| wanted.then(|| Outlet::Socket(channels.channel(number)));
    let client = Client {
        stdin: stdin.filter(|_| granted.stdin),
        resize,
        stdout: outlet(granted.stdout, STDOUT),
        stderr: outlet(granted.stderr, STDERR),
        error: Outlet::Socket(channels.channel(ERROR)),
        form: Version::of(protocol).form,
        gone: channels.gone(),
    };
    greet(granted, &channels).await;
    let process = backend.run(ticket).await;
    session::run(process, client).await;
    channels.close().await;
}

/// Sends an empty message, by which clients know that the streams are there.
async fn greet(granted: Streams, channels: &Channels) {
    let number = match granted {
        Streams { stdout: true, .. } => STDOUT,
        Streams { stderr: true, .. } => STDERR,
        _ => ERROR,
    };
    let first: Channel = channels.channel(number);
    // A client that has left is noticed by its session.
    let _ = first.send(&mut [0; ROOM]).await;
}
