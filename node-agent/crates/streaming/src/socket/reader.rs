//! What a client sends over a WebSocket, sorted into its channels.

use fastwebsockets::{Frame, OpCode, Payload, WebSocketError, WebSocketRead};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::MAX_MESSAGE;
use super::channels::Shared;
use super::codec::Codec;
use crate::hangup::Hangup;
use crate::inflow::Feed;
use crate::transport::Reader;

/// Channel of the messages that end another channel (`v5.channel.k8s.io`).
const END_OF_STREAM: u8 = 255;

/// Answers to pings that may wait for a client that does not read.
const AHEAD: usize = 16;

/// Answers to what a client asks of the connection itself; they end when this is dropped, also in
/// the middle of one that the client does not take.
pub(super) struct Control {
    answers: mpsc::Sender<Vec<u8>>,
    answering: AbortHandle,
}

impl Control {
    /// Starts answering.
    pub(super) fn start(sink: Shared) -> Self {
        let (answers, mut waiting) = mpsc::channel::<Vec<u8>>(AHEAD);
        let answering = tokio::spawn(async move {
            while let Some(payload) = waiting.recv().await {
                let frame = Frame::pong(Payload::Owned(payload));
                if sink.lock().await.write(frame).await.is_err() {
                    return;
                }
            }
        });
        Self {
            answers,
            answering: answering.abort_handle(),
        }
    }

    /// Answers a ping; fails where too many answers wait.
    fn pong(&self, payload: &[u8]) -> Option<()> {
        self.answers.try_send(payload.to_vec()).ok()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// The reading half.
pub(super) struct Reading {
    socket: WebSocketRead<Reader>,
    feeds: Vec<(u8, Feed)>,
    codec: Codec,
    control: Control,
    hangup: Hangup,
    /// Channel of the message under way, where it has one of ours.
    current: Current,
    /// Text of a message under way: base64 is decoded as a whole.
    text: Vec<u8>,
}

/// Where the message under way goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Current {
    /// Its channel is not known yet.
    Begins,
    Channel(u8),
}

impl Reading {
    pub(super) fn new(
        socket: WebSocketRead<Reader>,
        feeds: Vec<(u8, Feed)>,
        codec: Codec,
        control: Control,
        hangup: Hangup,
    ) -> Self {
        let mut socket = socket;
        socket.set_auto_close(false);
        socket.set_auto_pong(false);
        socket.set_max_message_size(MAX_MESSAGE);
        Self {
            socket,
            feeds,
            codec,
            control,
            hangup,
            current: Current::Begins,
            text: Vec::new(),
        }
    }

    /// Reads until the client leaves or breaks the protocol.
    pub(super) async fn run(mut self) {
        while self.step().await.is_some() {}
        for (_, feed) in &self.feeds {
            feed.end();
        }
    }

    async fn step(&mut self) -> Option<()> {
        // Nothing is ever sent by the reading half: pings and closes are answered here.
        let mut unsent = |_: Frame<'_>| std::future::ready(Ok::<(), WebSocketError>(()));
        let frame = self.socket.read_frame(&mut unsent).await.ok()?;
        let (opcode, last) = (frame.opcode, frame.fin);
        let payload = match frame.payload {
            Payload::Bytes(bytes) => bytes,
            other => other.as_ref().into(),
        };
        match opcode {
            OpCode::Close => None,
            OpCode::Ping => self.control.pong(&payload),
            OpCode::Pong => Some(()),
            OpCode::Text | OpCode::Binary => {
                self.current = Current::Begins;
                self.text.clear();
                self.take(&payload, last).await
            }
            OpCode::Continuation => self.take(&payload, last).await,
        }
    }

    /// Takes a piece of a message.
    async fn take(&mut self, piece: &[u8], last: bool) -> Option<()> {
        let mut rest = piece;
        if self.current == Current::Begins
            && let Some((first, others)) = piece.split_first()
        {
            self.current = Current::Channel(self.codec.channel(*first)?);
            rest = others;
        }
        if let Current::Channel(channel) = self.current {
            match self.codec {
                Codec::Binary => self.give(channel, rest).await?,
                Codec::Base64 if self.text.len() + rest.len() > MAX_MESSAGE => return None,
                Codec::Base64 if last => {
                    self.text.extend_from_slice(rest);
                    let bytes = Codec::decode(&std::mem::take(&mut self.text))?;
                    self.give(channel, &bytes).await?;
                }
                Codec::Base64 => self.text.extend_from_slice(rest),
            }
        }
        if last {
            self.current = Current::Begins;
        }
        Some(())
    }

    /// Passes bytes on; what is for no channel of ours is dropped.
    async fn give(&mut self, channel: u8, bytes: &[u8]) -> Option<()> {
        let feed_of = |number: u8| {
            let found = self.feeds.iter().find(|(known, _)| *known == number);
            found.map(|(_, feed)| feed)
        };
        if channel == END_OF_STREAM {
            if let Some(feed) = bytes.first().and_then(|ended| feed_of(*ended)) {
                feed.end();
            }
            return Some(());
        }
        let Some(feed) = feed_of(channel) else {
            return Some(());
        };
        tokio::select! {
            biased;
            _ = feed.push(bytes) => Some(()),
            () = self.hangup.heard() => None,
        }
    }
}
