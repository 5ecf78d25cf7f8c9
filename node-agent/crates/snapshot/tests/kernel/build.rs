//! Archives made by hand, the impossible ones among them.

use std::io::Write;

use tar::{EntryType, Header};

/// An archive under construction.
#[derive(Default, Clone)]
pub(crate) struct Tar(Vec<u8>);

/// A header for an entry of root's with mode 0644 (0755 for directories) at time 1000.
pub(crate) fn header(kind: EntryType, name: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1000);
    header.set_size(size);
    header
}

/// The text of one pax record.
pub(crate) fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while length != body + length.to_string().len() {
        length += 1;
    }
    let mut out = format!("{length} {key}=").into_bytes();
    out.extend_from_slice(value);
    out.push(b'\n');
    out
}

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a header, with its sum set, and data.
    pub(crate) fn raw(mut self, mut header: Header, data: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.bytes(data)
    }

    /// Adds data, filled up to whole blocks.
    pub(crate) fn bytes(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.raw(header(EntryType::Regular, name, data.len() as u64), data)
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.raw(header(EntryType::Directory, name, 0), b"")
    }

    /// Adds an entry with mode, owner and group.
    pub(crate) fn owned(self, kind: EntryType, name: &str, mode: u32, uid: u64, gid: u64) -> Self {
        let mut header = header(kind, name, 0);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        self.raw(header, b"")
    }

    fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
        let mut header = header(kind, name, 0);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self.raw(header, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Symlink, name, target)
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Link, name, target)
    }

    pub(crate) fn device(self, kind: EntryType, name: &str, major: u32, minor: u32) -> Self {
        let mut header = header(kind, name, 0);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        self.raw(header, b"")
    }

    /// Adds a pax header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let data: Vec<u8> = records.iter().flat_map(|(k, v)| pax_record(k, v)).collect();
        self.raw(header(EntryType::XHeader, "pax", data.len() as u64), &data)
    }

    /// Ends the archive as real ones end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    /// Ends the archive in the middle of nowhere.
    pub(crate) fn cut(self) -> Vec<u8> {
        self.0
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
