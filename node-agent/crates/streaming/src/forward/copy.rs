//! Bytes between a client's stream and a connected socket.

use std::time::Duration;

use bytes::BufMut as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::inlet::Inlet;
use crate::outlet::{Outlet, ROOM};
use crate::transport::Gone;

/// Most bytes read at once.
const CHUNK: usize = 64 << 10;

/// How long a client may be silent that has been told the end, before its side is closed too.
const AFTER_END: Duration = Duration::from_secs(30);

/// Copies both ways. The end of either side is passed on while the other goes on; `error` ends
/// when the socket's side has, which is what clients wait for.
pub(super) async fn both(socket: TcpStream, inlet: Inlet, data: &Outlet, error: &Outlet) {
    let (reader, writer) = socket.into_split();
    let mut inward = tokio::spawn(inward(inlet, writer));
    let out = async {
        let sent = outward(&reader, data).await;
        let _ = data.finish().await;
        let _ = error.finish().await;
        sent
    };
    if out.await.is_ok() {
        drop(tokio::time::timeout(AFTER_END, &mut inward).await);
    }
    inward.abort();
}

async fn outward(reader: &OwnedReadHalf, data: &Outlet) -> Result<(), Gone> {
    loop {
        if reader.readable().await.is_err() {
            return Ok(());
        }
        // Made when there is something to read: an idle connection holds no memory.
        let mut buffer = Vec::with_capacity(ROOM + CHUNK);
        loop {
            let room = data.reserve(CHUNK).await?;
            buffer.clear();
            buffer.resize(ROOM, 0);
            let read = reader.try_read_buf(&mut (&mut buffer).limit(room));
            data.settle(room, *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Ok(()),
                Ok(_) => data.send(&mut buffer).await?,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => return Ok(()),
            }
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
