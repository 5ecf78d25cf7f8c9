//! Memory that every container of the shim shares while bytes pass through.

use std::time::{Duration, Instant};

use crate::log::OUTPUT_BUFFER;
use crate::log::clock::Clock;

/// Most bytes read at once.
pub(crate) const READ_BUFFER: usize = 64 * 1024;

/// How long memory that was used is kept for the next use.
const KEEP: Duration = Duration::from_millis(250);

/// A shim with nothing to do holds no page of these: they are given back some time after use.
#[derive(Debug)]
pub(crate) struct Buffers {
    pub(crate) input: Vec<u8>,
    pub(crate) records: Vec<u8>,
    pub(crate) clock: Clock,
    used_until: Option<Instant>,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self {
            input: Vec::new(),
            records: Vec::new(),
            clock: Clock::new(),
            used_until: None,
        }
    }

    /// Makes the buffers ready for use.
    pub(crate) fn prepare(&mut self) {
        // Large enough that the allocator maps each on its own: only touched pages cost memory.
        if self.input.capacity() == 0 {
            self.input.reserve_exact(READ_BUFFER);
            self.records.reserve_exact(OUTPUT_BUFFER);
        }
        self.touch();
    }

    /// Notes that memory was used, by these buffers or anything else.
    pub(crate) fn touch(&mut self) {
        if self.used_until.is_none() {
            self.used_until = Some(Instant::now() + KEEP);
        }
    }

    /// When [`Buffers::release`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.used_until
    }

    /// Gives everything back.
    pub(crate) fn release(&mut self) {
        self.input = Vec::new();
        self.records = Vec::new();
        self.used_until = None;
        agent_sys::heap::trim();
    }
}
