//! The tar stream as a sequence of entries, read strictly and in bounded memory.
//!
//! Owns: blocks, checksums, extended headers, maps of holes. Where readers in the field disagree on
//! what an archive contains, it is refused. Does not touch a file system.
//!
//! Field layout and names come from the `tar` crate's [`tar::Header`]. Its iterator is not used: it
//! keeps extended headers of any size in memory and splits pax records at newlines (see [`pax`]).
//! Start reading at [`reader`].

mod error;
mod header;
mod number;
mod pax;
mod reader;
mod sparse;

pub use error::{ArchiveFault, EntryName};
pub(crate) use reader::{ArchiveError, ArchiveReader};

/// A point in time as file systems store it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mtime {
    pub seconds: i64,
    pub nanos: u32,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Xattr {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

/// A run of data in a file with holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub offset: u64,
    pub length: u64,
}

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    CharacterDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
}

/// One entry, with everything its header and extended headers say.
#[derive(Debug)]
pub(crate) struct Entry {
    /// As written in the archive: any bytes but NUL.
    pub name: Vec<u8>,
    /// Target of a symlink or hard link.
    pub link: Vec<u8>,
    pub kind: Kind,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Mtime,
    /// Size of the file once made, holes included.
    pub size: u64,
    pub xattrs: Vec<Xattr>,
    /// Where the data goes, if the file has holes.
    pub extents: Option<Vec<Extent>>,
}
