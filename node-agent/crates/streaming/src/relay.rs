//! Bytes from a descriptor on their way to a client: the one loop that pipes, terminals and
//! forwarded sockets share.

use std::io;

use bytes::BufMut;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::unix::pipe::Receiver;

use crate::outlet::{Outlet, ROOM};
use crate::transport::Gone;

/// Most bytes read at once.
const CHUNK: usize = 64 << 10;

/// Reads in a row that are dropped before others get their turn.
const DISCARDS: usize = 16;

/// What bytes are read from.
pub(crate) trait Source: Sync {
    /// Reads what is there, without waiting.
    fn try_read(&self, into: &mut impl BufMut) -> io::Result<usize>;
}

impl Source for Receiver {
    fn try_read(&self, into: &mut impl BufMut) -> io::Result<usize> {
        self.try_read_buf(into)
    }
}

impl Source for OwnedReadHalf {
    fn try_read(&self, into: &mut impl BufMut) -> io::Result<usize> {
        self.try_read_buf(into)
    }
}

/// Whether a source is at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Yes,
    NotYet,
}

/// Passes on all there is for now.
pub(crate) async fn pass(source: &impl Source, outlet: &Outlet) -> Result<Over, Gone> {
    // Made when there is something to read, so that an idle stream holds no memory.
    let mut buffer = Vec::with_capacity(ROOM + CHUNK);
    loop {
        let room = outlet.reserve(CHUNK).await?;
        buffer.clear();
        buffer.resize(ROOM, 0);
        let read = source.try_read(&mut (&mut buffer).limit(room));
        outlet.settle(room, *read.as_ref().unwrap_or(&0));
        match came(&read) {
            Came::Bytes => outlet.send(&mut buffer).await?,
            Came::Nothing => return Ok(Over::NotYet),
            Came::End => return Ok(Over::Yes),
        }
    }
}

/// Reads and drops what there is for now.
pub(crate) fn discard(source: &impl Source) -> Over {
    let mut buffer = Vec::with_capacity(CHUNK);
    for _ in 0..DISCARDS {
        buffer.clear();
        match came(&source.try_read(&mut (&mut buffer).limit(CHUNK))) {
            Came::Bytes => {}
            Came::Nothing => break,
            Came::End => return Over::Yes,
        }
    }
    Over::NotYet
}

/// What a read came to.
enum Came {
    Bytes,
    Nothing,
    End,
}

fn came(read: &io::Result<usize>) -> Came {
    match read {
        Ok(1..) => Came::Bytes,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Came::Nothing,
        // A terminal whose last process has ended gives EIO in place of an end.
        Ok(0) | Err(_) => Came::End,
    }
}
