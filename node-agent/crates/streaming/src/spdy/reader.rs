//! What a client sends: frames, one after another.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use super::compression::{Pack, Unpack};
use super::frame::{self, Control, FIN, HEAD, Head, Malformed, Reset};
use super::headers::Headers;
use super::stream::{Incoming, Outflow, StreamInflow};
use super::table::{Place, QUESTION, Shared};
use crate::hangup::Hangup;
use crate::inflow;
use crate::transport::Reader;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// Bytes of a stream that may wait to be read. As many as a window is open: a client that keeps
/// to windows never fills it.
const CAPACITY: usize = 64 << 10;

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The client has left.
    #[error("the client has left")]
    Left,
    /// It broke the protocol.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// The reading half of a connection.
pub(super) struct Reading {
    reader: Reader,
    buffer: BytesMut,
    unpack: Unpack,
    pack: Pack,
    shared: Arc<Shared>,
    hangup: Hangup,
    incoming: mpsc::Sender<Incoming>,
    /// Streams that may be open at a time.
    most: usize,
}

impl Reading {
    pub(super) fn new(
        reader: Reader,
        shared: Arc<Shared>,
        hangup: Hangup,
        incoming: mpsc::Sender<Incoming>,
        most: usize,
    ) -> Self {
        Self {
            reader,
            buffer: BytesMut::new(),
            unpack: Unpack::new(),
            pack: Pack::new(),
            shared,
            hangup,
            incoming,
            most,
        }
    }

    /// Reads frames until the client leaves or breaks the protocol.
    pub(super) async fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }

    /// Reads until `count` bytes are there.
    async fn fill(&mut self, count: usize) -> Result<(), End> {
        while self.buffer.len() < count {
            self.buffer.reserve(CHUNK);
            match self.reader.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(End::Left),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<(), End> {
        if self.buffer.is_empty() {
            // An idle connection holds no memory.
            self.buffer = BytesMut::new();
        }
        self.fill(HEAD).await?;
        let mut head = [0; HEAD];
        self.buffer.copy_to_slice(&mut head);
        match Head::parse(head)? {
            Head::Data {
                stream,
                flags,
                length,
            } => self.data(stream, flags, length).await,
            Head::Control {
                kind,
                flags,
                length,
            } => {
                self.fill(length).await?;
                let body = self.buffer.split_to(length);
                Ok(self.control(Control::parse(kind, flags, &body)?)?)
            }
        }
    }

    /// Passes the body of a data frame on as it comes.
    async fn data(&mut self, stream: u32, flags: u8, length: usize) -> Result<(), End> {
        let (feed, known) = {
            let state = self.shared.lock();
            let entry = state.streams.get(&stream).filter(|entry| !entry.ended);
            let known = stream <= state.last;
            (entry.map(|entry| entry.feed.clone()), known)
        };
        if feed.is_none() && !known {
            let reset = frame::reset(stream, Reset::InvalidStream);
            self.shared.sink.leave(reset);
        }
        let mut left = length;
        while left > 0 {
            self.fill(1).await?;
            let count = left.min(self.buffer.len());
            if feed.as_ref().is_some_and(|feed| !feed.fits(count)) {
                // It has sent more than it was let: windows are nothing to it. Its answer to our
                // question may be stuck behind these very bytes.
                self.shared.lock().windows.ignores();
                self.shared.wake();
            }
            let dropped = match &feed {
                None => count,
                Some(feed) => tokio::select! {
                    biased;
                    dropped = feed.push(&self.buffer[..count]) => dropped,
                    () = self.hangup.heard() => return Err(End::Left),
                },
            };
            // Nobody else will say that these were taken.
            if dropped > 0 {
                self.shared.consumed(stream, dropped);
            }
            self.buffer.advance(count);
            left -= count;
        }
        if flags & FIN != 0 {
            self.end(stream);
        }
        Ok(())
    }

    /// The client has ended its side of a stream.
    fn end(&self, stream: u32) {
        if let Some(entry) = self.shared.lock().streams.get_mut(&stream) {
            entry.ended = true;
            entry.feed.end();
        }
    }

    fn control(&mut self, control: Control<'_>) -> Result<(), Malformed> {
        match control {
            Control::SynStream {
                stream,
                fin,
                headers,
            } => self.open(stream, fin, headers)?,
            Control::Headers {
                stream,
                fin,
                headers,
            } => {
                // Unpacked for the sake of those that follow.
                self.unpack.block(headers)?;
                if fin {
                    self.end(stream);
                }
            }
            Control::Reset { stream } => self.shared.close(stream),
            Control::Settings { initial_window } => {
                if let Some(size) = initial_window {
                    let set = self.shared.lock().windows.set_initial(size);
                    set.map_err(|_| Malformed::Window)?;
                    self.shared.wake();
                }
            }
            Control::Ping { id: QUESTION } => {
                self.shared.lock().windows.answered();
                self.shared.wake();
            }
            // An answer to nothing we asked.
            Control::Ping { id } if id.is_multiple_of(2) => {}
            Control::Ping { id } => self.shared.sink.leave(frame::ping(id)),
            Control::WindowUpdate { stream, delta } => {
                let opened = self.shared.lock().windows.update(stream, delta);
                opened.map_err(|_| Malformed::Window)?;
                self.shared.wake();
            }
            // It opens no more streams; those that are open go on.
            Control::GoAway | Control::Unknown => {}
        }
        Ok(())
    }

    fn open(&mut self, stream: u32, fin: bool, headers: &[u8]) -> Result<(), Malformed> {
        let headers = Headers::parse(&self.unpack.block(headers)?)?;
        let open = {
            let mut state = self.shared.lock();
            // Numbers are odd and grow.
            if stream.is_multiple_of(2) || stream <= state.last {
                return Err(Malformed::Stream(stream));
            }
            state.last = stream;
            state.streams.len()
        };
        let refused = frame::reset(stream, Reset::Refused);
        let Some(slot) = self
            .incoming
            .try_reserve()
            .ok()
            .filter(|_| open < self.most)
        else {
            self.shared.sink.leave(refused);
            return Ok(());
        };
        let (feed, inflow) = inflow::queue(CAPACITY);
        if fin {
            feed.end();
        }
        self.shared.open(stream, feed, fin);
        let reply = frame::syn_reply(stream, &self.pack.block(&0_u32.to_be_bytes()));
        self.shared.sink.leave(reply);
        let place = Arc::new(Place {
            shared: Arc::clone(&self.shared),
            stream,
        });
        slot.send(Incoming {
            number: stream,
            headers,
            inflow: StreamInflow {
                place: Arc::clone(&place),
                inflow,
            },
            outflow: Outflow {
                place,
                finished: AtomicBool::new(false),
            },
        });
        Ok(())
    }
}
