//! A remote command over SPDY: the client opens one stream for each of the process's.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, Streams, Style};
use crate::command::protocol::Version;
use crate::command::session::{self, Client};
use crate::inlet::Inlet;
use crate::outlet::Outlet;
use crate::spdy::{Connection, Incoming};
use crate::transport::Transport;

/// Streams that may be open at a time.
const MAX_STREAMS: usize = 8;

/// Header that says what a stream is.
const STREAM_TYPE: &str = "streamtype";

/// What a client is offered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) granted: Streams,
    /// The protocol's name, empty where none was asked for.
    pub(crate) protocol: &'static str,
    /// Time to open all streams.
    pub(crate) timeout: Duration,
}

/// Streams by what they are.
#[derive(Default)]
struct Opened {
    stdin: Option<Incoming>,
    stdout: Option<Incoming>,
    stderr: Option<Incoming>,
    error: Option<Incoming>,
    resize: Option<Incoming>,
}

/// Serves one client.
pub(crate) async fn serve<B: Backend>(
    backend: &Arc<B>,
    ticket: B::Ticket,
    offer: Offer,
    transport: Transport,
) {
    let version = Version::of(offer.protocol);
    let mut connection = Connection::open(transport, MAX_STREAMS);
    let opening = opened(&mut connection, offer.granted, version);
    let opened = tokio::time::timeout(offer.timeout, opening).await;
    let gone = connection.gone();
    if let Ok(Some(Opened {
        stdin,
        stdout,
        stderr,
        error: Some(error),
        resize,
    })) = opened
    {
        let inlet = |stream: Incoming| Inlet::Spdy(stream.inflow);
        let outlet = |stream: Incoming| Outlet::Spdy(stream.outflow);
        let client = Client {
            stdin: stdin.map(inlet),
            resize: resize.map(inlet),
            stdout: stdout.map(outlet),
            stderr: stderr.map(outlet),
            error: outlet(error),
            form: version.form,
            gone,
        };
        let process = backend.run(ticket).await;
        session::run(process, client).await;
    } else {
        tracing::debug!("streaming client did not open its streams");
    }
    connection.close().await;
}

/// Waits for all streams that were granted; `None` where the client leaves before.
async fn opened(connection: &mut Connection, granted: Streams, version: Version) -> Option<Opened> {
    let mut opened = Opened::default();
    let resize = granted.style == Style::Terminal && version.resize;
    loop {
        let slots = [
            ("stdin", granted.stdin, &mut opened.stdin),
            ("stdout", granted.stdout, &mut opened.stdout),
            ("stderr", granted.stderr, &mut opened.stderr),
            ("error", true, &mut opened.error),
            ("resize", resize, &mut opened.resize),
        ];
        if slots
            .iter()
            .all(|(_, wanted, slot)| slot.is_some() || !wanted)
        {
            return Some(opened);
        }
        let stream = connection.accept().await?;
        let kind = stream.headers.get(STREAM_TYPE).map(str::to_owned);
        let found = slots.into_iter().find(|(name, wanted, slot)| {
            kind.as_deref() == Some(name) && *wanted && slot.is_none()
        });
        match found {
            Some((_, _, slot)) => *slot = Some(stream),
            // Of no kind that was granted, or the second of its kind.
            None => stream.outflow.reset(),
        }
    }
}
