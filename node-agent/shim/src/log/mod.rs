//! Container output as CRI log lines: `<time> stdout|stderr F|P <bytes>\n`.
//!
//! Owns: cutting output into records, the log file, its rotation and re-opening, and what is
//! dropped when the disk takes no more.
//! Does not: read pipes or know containers.
//! Start reading at [`mod@format`], then [`mod@file`].

pub(crate) mod clock;
pub(crate) mod file;
pub(crate) mod format;

use clock::Clock;
use file::LogFile;
use format::{Splitter, Stream};

/// Room for formatted lines before they are written; larger than any one record.
pub(crate) const OUTPUT_BUFFER: usize = 128 * 1024;

/// A container's log: the state between two reads of its pipes.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// `None`: output is drained and dropped.
    pub(crate) file: Option<LogFile>,
    splitters: [Splitter; 2],
    /// Lines that could not be written.
    pub(crate) dropped: u64,
}

impl Log {
    pub(crate) fn new(file: Option<LogFile>) -> Self {
        Self {
            file,
            ..Self::default()
        }
    }

    /// Writes what was read from `stream`; an unfinished last line waits for its rest.
    pub(crate) fn write(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        clock: &mut Clock,
        buffer: &mut Vec<u8>,
    ) {
        let Some(file) = &mut self.file else { return };
        let header = clock.header(stream);
        let splitter = &mut self.splitters[stream.index()];
        let mut sink = Sink {
            file,
            dropped: &mut self.dropped,
            buffer,
        };
        splitter.feed(&header, bytes, &mut sink);
        sink.flush();
    }

    /// Writes the unfinished line that the end of `stream` left, if any.
    pub(crate) fn end(&mut self, stream: Stream, clock: &mut Clock, buffer: &mut Vec<u8>) {
        let splitter = &mut self.splitters[stream.index()];
        let Some(file) = &mut self.file else { return };
        let mut sink = Sink {
            file,
            dropped: &mut self.dropped,
            buffer,
        };
        splitter.finish(&clock.header(stream), &mut sink);
        sink.flush();
    }
}

impl Log {
    /// Lets go of the file.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }
}

/// Gathers records and writes many at once.
struct Sink<'a> {
    file: &'a mut LogFile,
    dropped: &'a mut u64,
    buffer: &'a mut Vec<u8>,
}

impl Sink<'_> {
    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            *self.dropped += self.file.append(self.buffer);
            self.buffer.clear();
        }
    }
}

impl format::Records for Sink<'_> {
    fn record(&mut self, parts: [&[u8]; 4]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.buffer.len() + length > OUTPUT_BUFFER {
            self.flush();
        }
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
    }
}
