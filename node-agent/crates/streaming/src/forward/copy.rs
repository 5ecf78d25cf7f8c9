//! Bytes between a client's stream and a connected socket.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::inlet::Inlet;
use crate::outlet::Outlet;
use crate::relay::{self, Over};
use crate::transport::Gone;

/// How long a client may be silent that has been told the end, before its side is closed too.
const AFTER_END: Duration = Duration::from_secs(30);

/// Copies both ways. The end of either side is passed on while the other goes on; `error` ends
/// when the socket's side has, which is what clients wait for. A client that gives the stream up
/// ends both at once. Whatever drops this drops the socket with it.
pub(super) async fn both(socket: TcpStream, inlet: Inlet, data: &Outlet, error: &Outlet) {
    let (reader, writer) = socket.into_split();
    let out = async {
        let sent = outward(&reader, data).await;
        let _ = data.finish().await;
        let _ = error.finish().await;
        sent
    };
    let inward = inward(inlet, writer);
    tokio::pin!(out, inward);
    let sent = tokio::select! {
        sent = &mut out => sent,
        () = &mut inward => {
            drop(out.await);
            return;
        }
    };
    if sent.is_ok() {
        drop(tokio::time::timeout(AFTER_END, inward).await);
    }
}

async fn outward(reader: &OwnedReadHalf, data: &Outlet) -> Result<(), Gone> {
    loop {
        // Nothing is given up in the middle of a frame: other streams share the connection.
        let ready = tokio::select! {
            ready = reader.readable() => ready,
            () = data.given_up() => return Err(Gone),
        };
        if ready.is_err() || relay::pass(reader, data).await? == Over::Yes {
            return Ok(());
        }
    }
}

async fn inward(mut inlet: Inlet, mut writer: OwnedWriteHalf) {
    while let Some(bytes) = inlet.next().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // The other side may have closed first.
    drop(writer.shutdown().await);
}
