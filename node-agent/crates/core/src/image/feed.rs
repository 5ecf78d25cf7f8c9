//! From the asynchronous fetch to the blocking unpack: each chunk is hashed and kept on its way.

use std::fs::File;
use std::io::{self, Read};

use agent_content::{Ingest, IngestError};
use bytes::Bytes;
use tokio::sync::mpsc;

/// Chunks on their way; with the HTTP client's buffers, some 3 MiB a layer at most.
const CHUNKS: usize = 8;

/// The fetching side.
#[derive(Debug)]
pub(super) struct Feed(mpsc::Sender<Message>);

#[derive(Debug)]
enum Message {
    Chunk(Bytes),
    End,
}

impl Feed {
    /// Passes bytes on; false if the other side has given up.
    pub(super) async fn send(&self, chunk: Bytes) -> bool {
        self.0.send(Message::Chunk(chunk)).await.is_ok()
    }

    /// Says that all bytes have been passed on. Without it the reader fails at its end.
    pub(super) async fn end(self) -> bool {
        self.0.send(Message::End).await.is_ok()
    }
}

/// The unpacking side: reads what was there before, then what comes, keeping it in the ingest.
#[derive(Debug)]
pub(super) struct Tee {
    messages: mpsc::Receiver<Message>,
    ingest: Ingest,
    replay: Option<File>,
    current: Bytes,
    ended: bool,
    fault: Option<IngestError>,
}

/// Joins a fetch to an ingest, which may have been resumed.
pub(super) fn feed(ingest: Ingest) -> Result<(Feed, Tee), IngestError> {
    let (sender, messages) = mpsc::channel(CHUNKS);
    let replay = match ingest.offset() {
        0 => None,
        _ => Some(ingest.reader()?),
    };
    let tee = Tee {
        messages,
        ingest,
        replay,
        current: Bytes::new(),
        ended: false,
        fault: None,
    };
    Ok((Feed(sender), tee))
}

impl Tee {
    /// Takes what the unpack had no need for, up to the end.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        self.replay = None;
        self.current = Bytes::new();
        while self.next()? {}
        self.current = Bytes::new();
        Ok(())
    }

    /// Returns how many bytes are still to come.
    pub(super) const fn missing(&self) -> u64 {
        self.ingest.missing()
    }

    /// Returns the ingest, and why it refused bytes if it did.
    pub(super) fn finish(self) -> (Ingest, Option<IngestError>) {
        (self.ingest, self.fault)
    }

    /// Waits for the next bytes and keeps them; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        match self.messages.blocking_recv() {
            Some(Message::Chunk(chunk)) => {
                if let Err(fault) = self.ingest.write(&chunk) {
                    self.fault = Some(fault);
                    return Err(io::ErrorKind::WriteZero.into());
                }
                self.current = chunk;
                Ok(true)
            }
            Some(Message::End) => {
                self.ended = true;
                Ok(false)
            }
            // The fetch has failed and will say why.
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(replay) = &mut self.replay {
            // Nothing is written before the replay is over, so its end is where the fetch goes on.
            match replay.read(buffer)? {
                0 if !buffer.is_empty() => self.replay = None,
                count => return Ok(count),
            }
        }
        while self.current.is_empty() {
            if !self.next()? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_content::{ContentStore, Expected, Hasher};
    use agent_types::digest::Algorithm;

    const BYTES: &[u8] = b"the bytes of a layer";

    fn ingest(store: &ContentStore) -> Ingest {
        let digest = Hasher::digest_of(Algorithm::Sha256, BYTES);
        store
            .ingest(&digest, Expected::Exactly(BYTES.len() as u64))
            .unwrap()
    }

    #[tokio::test]
    async fn a_resumed_ingest_is_read_from_its_first_byte() {
        for cut in [0, 1, 7, BYTES.len()] {
            let directory = tempfile::tempdir().unwrap();
            let store = ContentStore::open(directory.path(), "boot").unwrap();
            let mut before = ingest(&store);
            before.write(&BYTES[..cut]).unwrap();
            drop(before);
            let (feed, mut tee) = feed(ingest(&store)).unwrap();
            let reader = tokio::task::spawn_blocking(move || {
                let mut read = vec![0; 5];
                tee.read_exact(&mut read).unwrap();
                tee.drain().unwrap();
                tee.finish().0.commit().unwrap();
                read
            });
            for chunk in BYTES[cut..].chunks(3) {
                assert!(feed.send(Bytes::from_static(chunk)).await);
            }
            assert!(feed.end().await);
            assert_eq!(reader.await.unwrap(), &BYTES[..5], "{cut}");
            let digest = Hasher::digest_of(Algorithm::Sha256, BYTES);
            assert_eq!(store.contains(&digest).unwrap(), Some(BYTES.len() as u64));
        }
    }

    #[tokio::test]
    async fn a_fetch_that_fails_is_no_end() {
        let directory = tempfile::tempdir().unwrap();
        let store = ContentStore::open(directory.path(), "boot").unwrap();
        let (feed, mut tee) = feed(ingest(&store)).unwrap();
        assert!(feed.send(Bytes::from_static(b"the")).await);
        drop(feed);
        let outcome = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            let error = tee.read_to_end(&mut all).unwrap_err();
            (all, error.kind(), tee.finish().0.offset())
        });
        let (all, kind, kept) = outcome.await.unwrap();
        assert_eq!(
            (all.as_slice(), kind, kept),
            (&b"the"[..], io::ErrorKind::UnexpectedEof, 3)
        );
    }

    #[tokio::test]
    async fn too_many_bytes_are_a_fault_of_the_ingest() {
        let directory = tempfile::tempdir().unwrap();
        let store = ContentStore::open(directory.path(), "boot").unwrap();
        let (feed, mut tee) = feed(ingest(&store)).unwrap();
        let reader = tokio::task::spawn_blocking(move || {
            let _ = tee.read_to_end(&mut Vec::new()).unwrap_err();
            tee.finish().1
        });
        feed.send(Bytes::from(vec![0; 100])).await;
        let fault = reader.await.unwrap();
        assert!(
            matches!(fault, Some(IngestError::TooLarge { .. })),
            "{fault:?}"
        );
    }
}
