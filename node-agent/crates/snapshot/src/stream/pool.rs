//! Buffers that return to their pool when dropped.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Size of one buffer: large enough that handing it over costs nothing beside filling it.
pub(super) const BUFFER: usize = 128 * 1024;
/// Buffers of one unpack; 1 MiB in all.
pub(super) const BUFFERS: usize = 8;

/// A fixed number of buffers.
#[derive(Debug)]
pub(super) struct Pool {
    free: Receiver<Vec<u8>>,
    home: SyncSender<Vec<u8>>,
}

/// A buffer with `length` bytes of data in it.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    length: usize,
    home: SyncSender<Vec<u8>>,
}

impl Pool {
    pub(super) fn new() -> Self {
        let (home, free) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            // The channel has room for every buffer there is.
            let _ = home.try_send(vec![0; BUFFER]);
        }
        Self { free, home }
    }

    /// Waits for a free buffer. The pool keeps a sender, so that waiting never fails.
    pub(super) fn take(&self) -> Buffer {
        Buffer {
            bytes: self.free.recv().unwrap_or_else(|_| vec![0; BUFFER]),
            length: 0,
            home: self.home.clone(),
        }
    }
}

impl Buffer {
    pub(super) fn spare(&mut self) -> &mut [u8] {
        &mut self.bytes[self.length..]
    }

    pub(super) fn grow(&mut self, by: usize) {
        self.length = self.bytes.len().min(self.length + by);
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Fails only when the pool is gone, and with it the need for the buffer.
        let _ = self.home.try_send(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_can_be_taken_again() {
        let pool = Pool::new();
        let mut held: Vec<_> = (0..BUFFERS).map(|_| pool.take()).collect();
        assert!(
            pool.free.try_recv().is_err(),
            "no buffer beyond the fixed number"
        );
        held[0].spare()[0] = 7;
        held[0].grow(1);
        assert_eq!(held[0].data(), [7]);
        held.pop();
        assert!(pool.take().data().is_empty());
    }
}
