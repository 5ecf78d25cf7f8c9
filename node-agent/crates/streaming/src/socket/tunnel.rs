//! A byte stream inside the messages of a WebSocket: SPDY tunnelled through proxies that pass
//! nothing else.

use fastwebsockets::{
    Frame, OpCode, Payload, Role, WebSocketError, WebSocketRead, after_handshake_split,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::MAX_MESSAGE;
use crate::transport::{LINGER, Reader, Transport};

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
    let (pongs, mut waiting) = mpsc::channel::<Vec<u8>>(AHEAD);
    let mut inward = tokio::spawn(inward(reading, far_writer, pongs));
    tokio::spawn(async move {
        let mut bytes = Outward {
            from: far_reader,
            buffer: vec![0; DEPTH / 2],
        };
        loop {
            let frame = tokio::select! {
                Some(payload) = waiting.recv() => Frame::pong(Payload::Owned(payload)),
                read = bytes.from.read(&mut bytes.buffer) => match read {
                    Ok(count @ 1..) => Frame::binary(Payload::Borrowed(&bytes.buffer[..count])),
                    _ => break,
                },
            };
            if writing.write_frame(frame).await.is_err() {
                inward.abort();
                return;
            }
        }
        let closing = async {
            // The client may have left.
            drop(writing.write_frame(Frame::close(1000, b"")).await);
            drop((&mut inward).await);
        };
        drop(tokio::time::timeout(LINGER, closing).await);
        inward.abort();
    });
    Transport {
        reader: Box::new(inner_reader),
        writer: Box::new(inner_writer),
        hangup,
        activity,
    }
}

/// Bytes to be framed.
struct Outward {
    from: ReadHalf<DuplexStream>,
    buffer: Vec<u8>,
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
