//! Memory held while a large layer passes through; a process of its own, so that it can be read.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, Read};

use agent_snapshot::{Compression, Limits, Snapshots};
use flate2::bufread::GzEncoder;

const GIB: u64 = 1 << 30;

/// The most memory this process ever held, in KiB.
fn high_water() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// An archive of one file of `size` zeros, made as it is read.
fn zeros(size: u64) -> impl Read {
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    let header = io::Cursor::new(header.as_bytes().to_vec());
    header.chain(io::repeat(0).take(size + 1024))
}

/// Files of one byte, as many as they come, made as they are read.
struct Files {
    left: u32,
    block: Vec<u8>,
    used: usize,
}

impl Read for Files {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.block.len() {
            if self.left == 0 {
                return Ok(0);
            }
            self.left -= 1;
            let mut header = tar::Header::new_gnu();
            header.set_path(format!("d{}/f{}", self.left % 50, self.left))?;
            header.set_size(1);
            header.set_cksum();
            self.block = header.as_bytes().to_vec();
            self.block.resize(1024, 7);
            self.used = 0;
        }
        let length = buffer.len().min(self.block.len() - self.used);
        buffer[..length].copy_from_slice(&self.block[self.used..self.used + length]);
        self.used += length;
        Ok(length)
    }
}

/// Neither the size of a file nor the number of files shows in the memory held.
#[test]
fn memory_does_not_grow_with_the_layer() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, _) = Snapshots::open(dir.path(), "boot").unwrap();
    let limits = Limits::default();
    let before = high_water();
    let zipped = io::BufReader::new(zeros(2 * GIB));
    let zipped = GzEncoder::new(zipped, flate2::Compression::fast());
    let unpacked = snapshots
        .unpack(zipped, Some(Compression::Gzip), &limits)
        .unwrap();
    assert!(unpacked.size() > 2 * GIB);
    drop(unpacked);
    let files = Files {
        left: 40_000,
        block: Vec::new(),
        used: 0,
    };
    let unpacked = snapshots.unpack(files, None, &limits).unwrap();
    assert_eq!(unpacked.inodes(), 40_051);
    let grown = high_water() - before;
    assert!(grown < 12 * 1024, "{grown} KiB more than before");
}
