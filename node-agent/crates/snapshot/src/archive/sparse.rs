//! Maps of holes: the old GNU header's and the three pax formats of GNU tar.

use super::Extent;
use super::error::ArchiveFault;
use super::number::{decimal, unsigned};

/// Most runs of data one file may have; its map stays below 2 MiB.
const MAX_EXTENTS: usize = 128 * 1024;

/// A map being read: offsets and lengths in turn.
#[derive(Debug, Default)]
pub(super) struct Map(Vec<u64>);

impl Map {
    pub(super) fn from_numbers(numbers: Vec<u64>) -> Self {
        Self(numbers)
    }

    /// Adds an old GNU map entry; blank ones are filling.
    pub(super) fn push_old(&mut self, entry: &tar::GnuSparseHeader) -> Result<(), ArchiveFault> {
        if entry.is_empty() {
            return Ok(());
        }
        let number = |field: &[u8]| unsigned(field).ok_or(sparse("not a list of numbers"));
        self.0.push(number(&entry.offset)?);
        self.0.push(number(&entry.numbytes)?);
        if self.0.len() / 2 > MAX_EXTENTS {
            return Err(sparse("too long"));
        }
        Ok(())
    }

    /// Checks the map against the bytes stored and the file's size.
    pub(super) fn extents(self, stored: u64, real: u64) -> Result<Vec<Extent>, ArchiveFault> {
        if !self.0.len().is_multiple_of(2) {
            return Err(sparse("cut off"));
        }
        let mut extents = Vec::with_capacity(self.0.len() / 2);
        let (mut position, mut total) = (0_u64, 0_u64);
        for pair in self.0.chunks_exact(2) {
            let (offset, length) = (pair[0], pair[1]);
            let end = offset.checked_add(length).ok_or(sparse("out of range"))?;
            if offset < position || end > real {
                return Err(sparse("out of order or longer than the file"));
            }
            position = end;
            total += length;
            if length > 0 {
                extents.push(Extent { offset, length });
            }
        }
        if total != stored {
            return Err(sparse("not about the data stored"));
        }
        Ok(extents)
    }
}

/// Reads the map at the front of a pax 1.0 sparse file's data, a number a line: how many, then
/// offsets and lengths. Fed block by block; `Some` once it is whole.
#[derive(Debug, Default)]
pub(super) struct FrontMap {
    text: Vec<u8>,
}

impl FrontMap {
    pub(super) fn feed(&mut self, block: &[u8]) -> Result<Option<Map>, ArchiveFault> {
        self.text.extend_from_slice(block);
        let mut lines = self.text.split(|b| *b == b'\n');
        // The piece after the last newline is not a line yet.
        let whole = self.text.iter().filter(|b| **b == b'\n').count();
        let Some(first) = lines.next().filter(|_| whole > 0) else {
            return if self.text.len() > 64 {
                Err(sparse("malformed"))
            } else {
                Ok(None)
            };
        };
        let count = decimal(first)
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| *n <= MAX_EXTENTS)
            .ok_or(sparse("malformed or too long"))?;
        if whole < 1 + 2 * count {
            let longest = (1 + 2 * count) * 21;
            return if self.text.len() > longest + 512 {
                Err(sparse("malformed"))
            } else {
                Ok(None)
            };
        }
        let numbers = lines
            .take(2 * count)
            .map(decimal)
            .collect::<Option<Vec<_>>>();
        numbers
            .map(|numbers| Some(Map(numbers)))
            .ok_or(sparse("not a list of numbers"))
    }
}

pub(super) fn sparse(how: &'static str) -> ArchiveFault {
    ArchiveFault::Sparse { how }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(numbers: &[u64], stored: u64, real: u64) -> Result<Vec<Extent>, ArchiveFault> {
        Map::from_numbers(numbers.to_vec()).extents(stored, real)
    }

    #[test]
    fn a_map_must_add_up() {
        let good = extents(&[0, 512, 4096, 100, 8192, 0], 612, 8192).unwrap();
        assert_eq!(good.len(), 2);
        assert!(extents(&[0, 512, 100, 10], 522, 8192).is_err(), "overlap");
        assert!(extents(&[0, 512], 511, 8192).is_err(), "stored differs");
        assert!(extents(&[8000, 512], 512, 8192).is_err(), "beyond the end");
        assert!(extents(&[u64::MAX, 2], 2, u64::MAX).is_err(), "wraps");
        assert!(extents(&[0], 0, 0).is_err(), "odd");
    }

    #[test]
    fn a_front_map_may_span_blocks() {
        let mut map = FrontMap::default();
        assert!(map.feed(b"2\n0\n51").unwrap().is_none());
        let whole = map.feed(b"2\n4096\n100\n\0\0\0").unwrap().unwrap();
        assert_eq!(whole.extents(612, 5000).unwrap().len(), 2);
        assert!(FrontMap::default().feed(&[b'1'; 512]).is_err());
        assert!(FrontMap::default().feed(b"99999999999\n").is_err());
        assert!(FrontMap::default().feed(b"1\n-1\n5\n").is_err());
    }
}
