//! The three threads of an unpack and what passes between them.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use agent_types::Digest;
use sha2::{Digest as _, Sha256};

use super::inflate::{Compression, Inflate, InflateError};
use super::pool::{BUFFERS, Buffer, Pool};
use crate::limits::{Limit, Limits};

/// What went through a pipe.
#[derive(Debug)]
pub(crate) struct Summary {
    /// Digest of the plain bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    pub compression: Compression,
}

/// Why a pipe broke.
#[derive(Debug)]
pub(crate) enum PipeError<E> {
    Thread(io::Error),
    Inflate(InflateError),
    Limit(Limit),
    /// The consumer gave up first.
    Consumer(E),
}

/// What the producer sends. Without an `End`, the stream broke.
#[derive(Debug)]
enum Message {
    Data(Arc<Buffer>),
    End,
}

/// The plain bytes, as the applying thread reads them.
#[derive(Debug)]
pub(crate) struct Source {
    messages: Receiver<Message>,
    current: Option<Arc<Buffer>>,
    used: usize,
    ended: bool,
}

/// Inflates `reader` on this thread, digests the outcome on a second and lets `consume` have it on
/// a third. `consume` must read to the end.
pub(crate) fn run<T: Send, E: Send>(
    reader: impl Read,
    expected: Option<Compression>,
    limits: &Limits,
    consume: impl FnOnce(Source) -> Result<T, E> + Send,
) -> Result<(T, Summary), PipeError<E>> {
    let mut inflate =
        Inflate::new(reader, expected, limits.zstd_window_log).map_err(PipeError::Inflate)?;
    let (to_digest, digest_end) = sync_channel(BUFFERS);
    let (to_consumer, consumer_end) = sync_channel(BUFFERS);
    thread::scope(|scope| {
        let digest = thread::Builder::new()
            .name("layer-digest".to_owned())
            .spawn_scoped(scope, move || digest(&digest_end))
            .map_err(PipeError::Thread)?;
        let consumer = thread::Builder::new()
            .name("layer-apply".to_owned())
            .spawn_scoped(scope, move || consume(Source::new(consumer_end)))
            .map_err(PipeError::Thread)?;
        let produced = produce(&mut inflate, limits, [to_consumer, to_digest]);
        let digest = digest
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let consumed = consumer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let size = match produced {
            Ok(size) => size,
            Err(Stop::Inflate(error)) => return Err(PipeError::Inflate(error)),
            Err(Stop::Limit(limit)) => return Err(PipeError::Limit(limit)),
            // Whoever hung up has said why.
            Err(Stop::HungUp) => 0,
        };
        let outcome = consumed.map_err(PipeError::Consumer)?;
        let compression = inflate.compression();
        Ok((
            outcome,
            Summary {
                digest,
                size,
                compression,
            },
        ))
    })
}

/// Why the producer stopped early.
enum Stop {
    Inflate(InflateError),
    Limit(Limit),
    HungUp,
}

/// Sends every buffer to all consumers; returns the number of bytes.
fn produce<R: Read, const N: usize>(
    inflate: &mut Inflate<R>,
    limits: &Limits,
    consumers: [SyncSender<Message>; N],
) -> Result<u64, Stop> {
    let pool = Pool::new();
    let mut total = 0_u64;
    loop {
        let mut buffer = pool.take();
        let ended = fill(inflate, &mut buffer).map_err(Stop::Inflate)?;
        total += buffer.data().len() as u64;
        limits
            .check_stream(total, inflate.consumed())
            .map_err(Stop::Limit)?;
        let buffer = Arc::new(buffer);
        for consumer in &consumers {
            let data = Message::Data(Arc::clone(&buffer));
            consumer.send(data).map_err(|_| Stop::HungUp)?;
        }
        if ended {
            for consumer in &consumers {
                consumer.send(Message::End).map_err(|_| Stop::HungUp)?;
            }
            return Ok(total);
        }
    }
}

/// Fills a buffer to the brim, or to the end of the stream, which it reports.
fn fill<R: Read>(inflate: &mut Inflate<R>, buffer: &mut Buffer) -> Result<bool, InflateError> {
    while !buffer.spare().is_empty() {
        match inflate.read(buffer.spare())? {
            0 => return Ok(true),
            length => buffer.grow(length),
        }
    }
    Ok(false)
}

fn digest(messages: &Receiver<Message>) -> Digest {
    let mut hasher = Sha256::new();
    while let Ok(Message::Data(buffer)) = messages.recv() {
        hasher.update(buffer.data());
    }
    Digest::sha256(&hasher.finalize().into())
}

impl Source {
    fn new(messages: Receiver<Message>) -> Self {
        Self {
            messages,
            current: None,
            used: 0,
            ended: false,
        }
    }

    fn left(&self) -> &[u8] {
        self.current
            .as_ref()
            .map_or(&[], |buffer| &buffer.data()[self.used..])
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.left().is_empty() && !self.ended {
            // The spent buffer goes home before the wait for the next.
            self.current = None;
            self.used = 0;
            match self.messages.recv() {
                Ok(Message::Data(buffer)) => self.current = Some(buffer),
                Ok(Message::End) => self.ended = true,
                Err(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        Ok(self.left())
    }

    fn consume(&mut self, amount: usize) {
        self.used += amount;
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let length = piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&piece[..length]);
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(bytes: &[u8], limits: &Limits) -> Result<(Vec<u8>, Summary), PipeError<io::Error>> {
        run(bytes, None, limits, |mut source| {
            let mut out = Vec::new();
            source.read_to_end(&mut out).map(|_| out)
        })
    }

    #[test]
    fn every_byte_arrives_and_is_digested() {
        let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(|n| n.to_le_bytes()).collect();
        let (out, summary) = pass(&bytes, &Limits::default()).unwrap();
        assert!(out == bytes);
        assert_eq!(summary.size, bytes.len() as u64);
        assert_eq!(
            summary.digest,
            Digest::sha256(&Sha256::digest(&bytes).into())
        );
        let (_, empty) = pass(b"", &Limits::default()).unwrap();
        assert!(empty.digest.as_str().starts_with("sha256:e3b0c442"));
    }

    #[test]
    fn a_consumer_that_gives_up_ends_the_pipe() {
        let endless = io::repeat(0);
        let result = run(endless, None, &Limits::default(), |_| {
            Err::<(), _>("enough")
        });
        assert!(matches!(result, Err(PipeError::Consumer("enough"))));
    }

    #[test]
    fn a_stream_over_the_cap_is_cut() {
        let limits = Limits {
            bytes: 1 << 20,
            ..Limits::default()
        };
        let result = run(io::repeat(0), None, &limits, |mut source| {
            io::copy(&mut source, &mut io::sink())
        });
        assert!(matches!(result, Err(PipeError::Limit(Limit::Bytes { .. }))));
    }
}
