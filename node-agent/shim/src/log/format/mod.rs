//! Cutting a byte stream into log records, without touching a file.
//!
//! ```text
//! hello\nwor | ld\n      ->  T stdout F hello\n   T stdout F world\n
//! <20000 bytes>\n        ->  T stdout P <16384>\n T stdout F <3616>\n
//! abc <end>              ->  T stdout P abc\n
//! ```

/// Longest payload of one record, in bytes.
pub(crate) const MAX_PAYLOAD: usize = 16 * 1024;

/// Length of a record's head: time, stream, tag and the spaces between.
pub(crate) const HEAD: usize = TIME + " stdout F ".len();

/// Length of `2026-01-02T03:04:05.678901234Z`.
pub(crate) const TIME: usize = 30;

/// Which of the two outputs a byte came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub(crate) const BOTH: [Self; 2] = [Self::Stdout, Self::Stderr];

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }

    const fn name(self) -> &'static [u8; 6] {
        match self {
            Self::Stdout => b"stdout",
            Self::Stderr => b"stderr",
        }
    }
}

/// The heads of complete and of partial records at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    full: [u8; HEAD],
    partial: [u8; HEAD],
}

impl Header {
    pub(crate) fn new(time: &[u8; TIME], stream: Stream) -> Self {
        let mut full = [b' '; HEAD];
        full[..TIME].copy_from_slice(time);
        full[TIME + 1..TIME + 7].copy_from_slice(stream.name());
        full[HEAD - 2] = b'F';
        let mut partial = full;
        partial[HEAD - 2] = b'P';
        Self { full, partial }
    }
}

/// Takes records, each in four parts that belong together.
pub(crate) trait Records {
    fn record(&mut self, parts: [&[u8]; 4]);
}

/// Cuts one stream into records; keeps the line that has not ended yet.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    unfinished: Vec<u8>,
}

impl Splitter {
    /// Takes the next bytes of the stream.
    pub(crate) fn feed(&mut self, header: &Header, mut input: &[u8], records: &mut impl Records) {
        while let Some(end) = find_newline(input) {
            let (line, rest) = input.split_at(end);
            let line = self.shorten(header, line, records);
            records.record([&header.full, &self.unfinished, line, b"\n"]);
            self.unfinished.clear();
            input = rest.get(1..).unwrap_or_default();
        }
        let input = self.shorten(header, input, records);
        self.unfinished.extend_from_slice(input);
        if self.unfinished.is_empty() {
            // Only a container in the middle of a line pays for one.
            self.unfinished = Vec::new();
        }
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self, header: &Header, records: &mut impl Records) {
        let unfinished = std::mem::take(&mut self.unfinished);
        if !unfinished.is_empty() {
            records.record([&header.partial, &unfinished, &[], b"\n"]);
        }
    }

    /// Writes partial records until what is left of the line fits in one record.
    fn shorten<'a>(
        &mut self,
        header: &Header,
        mut line: &'a [u8],
        records: &mut impl Records,
    ) -> &'a [u8] {
        while self.unfinished.len() + line.len() > MAX_PAYLOAD {
            let (now, later) = line.split_at(MAX_PAYLOAD - self.unfinished.len());
            records.record([&header.partial, &self.unfinished, now, b"\n"]);
            self.unfinished.clear();
            line = later;
        }
        line
    }
}

/// Returns the place of the first newline.
///
/// Looks at 16 bytes a step: container output is scanned once, at memory speed.
fn find_newline(bytes: &[u8]) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const NEWLINES: u64 = LOW * b'\n' as u64;
    // Non-zero exactly when a byte of `word` is a newline; the lowest set bit is in the first.
    let marks = |word: [u8; 8]| {
        let zeroed = u64::from_le_bytes(word) ^ NEWLINES;
        zeroed.wrapping_sub(LOW) & !zeroed & HIGH
    };
    let (pairs, rest) = bytes.as_chunks::<16>();
    for (index, pair) in pairs.iter().enumerate() {
        let (words, _) = pair.as_chunks::<8>();
        let (first, second) = (marks(words[0]), marks(words[1]));
        if first | second != 0 {
            let offset = if first == 0 {
                8 + second.trailing_zeros() / 8
            } else {
                first.trailing_zeros() / 8
            };
            return Some(index * 16 + offset as usize);
        }
    }
    let tail = rest.iter().position(|byte| *byte == b'\n')?;
    Some(pairs.len() * 16 + tail)
}

#[cfg(test)]
mod tests;
