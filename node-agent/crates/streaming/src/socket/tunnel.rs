//! A byte stream inside the messages of a WebSocket: SPDY tunnelled through proxies that pass
//! nothing else.

use std::pin::Pin;
use std::task::{Context, Poll};

use fastwebsockets::{
    Frame, OpCode, Payload, Role, WebSocketError, WebSocketRead, WebSocketWrite,
    after_handshake_split,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::io::{DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::MAX_MESSAGE;
use crate::transport::{LINGER, Reader, Transport, Writer};

/// Bytes on their way through the tunnel, each way.
const DEPTH: usize = 128 << 10;

/// Answers to pings that may wait.
const AHEAD: usize = 16;

/// Returns a transport whose bytes go through messages of `outer`.
pub(crate) fn tunnel(outer: Transport) -> Transport {
    let Transport {
        reader,
        writer,
        hangup,
        activity,
    } = outer;
    let (ours, theirs) = tokio::io::duplex(DEPTH);
    let (inner_reader, inner_writer) = tokio::io::split(ours);
    let (far_reader, far_writer) = tokio::io::split(theirs);
    let (mut reading, mut writing) = after_handshake_split(reader, writer, Role::Server);
    reading.set_auto_close(false);
    reading.set_auto_pong(false);
    reading.set_max_message_size(MAX_MESSAGE);
    let (pongs, waiting) = mpsc::channel::<Vec<u8>>(AHEAD);
    let mut inward = tokio::spawn(inward(reading, far_writer, pongs));
    let cut = CancellationToken::new();
    let held = cut.clone().drop_guard();
    tokio::spawn(async move {
        let carrying = async {
            if outward(&mut writing, far_reader, waiting).await.is_ok() {
                // The client may have left.
                drop(writing.write_frame(Frame::close(1000, b"")).await);
                drop((&mut inward).await);
            }
        };
        let too_long = async {
            cut.cancelled().await;
            tokio::time::sleep(LINGER).await;
        };
        tokio::select! {
            () = carrying => {}
            // A client that takes nothing holds nothing once it was given up.
            () = too_long => {}
        }
        inward.abort();
    });
    Transport {
        reader: Box::new(Held {
            inner: inner_reader,
            _end: held,
        }),
        writer: Box::new(inner_writer),
        hangup,
        activity,
    }
}

/// Frames what comes out of the tunnel until its end.
async fn outward(
    writing: &mut WebSocketWrite<Writer>,
    mut from: ReadHalf<DuplexStream>,
    mut pongs: mpsc::Receiver<Vec<u8>>,
) -> Result<(), WebSocketError> {
    let mut buffer = vec![0; DEPTH / 2];
    loop {
        let frame = tokio::select! {
            Some(payload) = pongs.recv() => Frame::pong(Payload::Owned(payload)),
            read = from.read(&mut buffer) => match read {
                Ok(count @ 1..) => Frame::binary(Payload::Borrowed(&buffer[..count])),
                _ => return Ok(()),
            },
        };
        writing.write_frame(frame).await?;
    }
}

/// The inner reading half; tells when it is dropped.
struct Held {
    inner: ReadHalf<DuplexStream>,
    _end: DropGuard,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

/// Passes on what the client sends; ends the stream when it leaves.
async fn inward(
    mut reading: WebSocketRead<Reader>,
    mut to: WriteHalf<DuplexStream>,
    pongs: mpsc::Sender<Vec<u8>>,
) {
    let mut unsent = |_: Frame<'_>| std::future::ready(Ok::<(), WebSocketError>(()));
    while let Ok(frame) = reading.read_frame(&mut unsent).await {
        let passed = match frame.opcode {
            OpCode::Close => break,
            OpCode::Ping => pongs.try_send(frame.payload.to_vec()).is_ok(),
            OpCode::Pong => true,
            OpCode::Text | OpCode::Binary | OpCode::Continuation => {
                to.write_all(&frame.payload).await.is_ok()
            }
        };
        if !passed {
            break;
        }
    }
    // The other side may have ended first.
    drop(to.shutdown().await);
}
