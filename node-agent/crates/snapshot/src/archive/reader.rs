//! Entries off a stream, one at a time.

use std::io::{self, BufRead};

use tar::{GnuExtSparseHeader, Header};

use super::error::{ArchiveFault, EntryName};
use super::header;
use super::pax::{self, Pax};
use super::sparse::{FrontMap, Map, sparse};
use super::{Entry, Kind};

const BLOCK: usize = 512;

/// Why no further entry could be read.
#[derive(Debug)]
pub(crate) enum ArchiveError {
    /// The stream below failed.
    Source(io::Error),
    /// The archive is refused at the entry named.
    Refused(EntryName, ArchiveFault),
}

/// Reads a tar stream strictly; holds one entry and its extended headers.
#[derive(Debug)]
pub(crate) struct ArchiveReader<R> {
    source: R,
    /// Cap on each extended header, in bytes.
    extended_limit: u64,
    /// Data of the current entry not yet consumed.
    remaining: u64,
    /// Filling after that data, up to a whole block.
    padding: u64,
    /// The name to blame: the current entry's, or the last one's.
    name: Vec<u8>,
}

/// Headers that describe the entry after them.
#[derive(Debug, Default)]
struct Extended {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// Failures inside the reader, before the entry's name is added.
enum Failure {
    Source(io::Error),
    Fault(ArchiveFault),
}

impl From<ArchiveFault> for Failure {
    fn from(fault: ArchiveFault) -> Self {
        Self::Fault(fault)
    }
}

impl<R: BufRead> ArchiveReader<R> {
    pub(crate) fn new(source: R, extended_limit: u64) -> Self {
        Self {
            source,
            extended_limit,
            remaining: 0,
            padding: 0,
            name: Vec::new(),
        }
    }

    /// Returns the next entry, past whatever is left of the current one; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.advance().map_err(|failure| self.blame(failure))
    }

    /// Returns the next piece of the current entry's data; empty at its end.
    pub(crate) fn data(&mut self) -> Result<&[u8], ArchiveError> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let name = &self.name;
        let piece = self.source.fill_buf().map_err(ArchiveError::Source)?;
        if piece.is_empty() {
            return Err(ArchiveError::Refused(
                EntryName::new(name),
                ArchiveFault::Truncated,
            ));
        }
        let length = usize::try_from(self.remaining).map_or(piece.len(), |n| n.min(piece.len()));
        Ok(&piece[..length])
    }

    /// Marks `length` bytes of what [`Self::data`] returned as used.
    pub(crate) fn consume(&mut self, length: usize) {
        self.source.consume(length);
        self.remaining = self.remaining.saturating_sub(length as u64);
    }

    /// Reads what follows the archive, to the stream's end.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        loop {
            let length = self.source.fill_buf()?.len();
            if length == 0 {
                return Ok(());
            }
            self.source.consume(length);
        }
    }

    fn blame(&self, failure: Failure) -> ArchiveError {
        match failure {
            Failure::Source(source) => ArchiveError::Source(source),
            Failure::Fault(fault) => ArchiveError::Refused(EntryName::new(&self.name), fault),
        }
    }

    fn advance(&mut self) -> Result<Option<Entry>, Failure> {
        let mut extended = Extended::default();
        loop {
            self.skip_rest()?;
            let mut header = Header::new_old();
            let Some(()) = self.next_header(&mut header)? else {
                return if extended.is_empty() {
                    Ok(None)
                } else {
                    Err(order("followed by nothing").into())
                };
            };
            match header::flag(&header) {
                b'x' => {
                    let data = self.extended(&header)?;
                    once(&mut extended.pax, pax::parse(&data)?)?;
                }
                b'g' => pax::check_global(&self.extended(&header)?)?,
                b'L' => {
                    let name = until_nul(self.extended(&header)?);
                    once(&mut extended.name, name)?;
                }
                b'K' => {
                    let link = until_nul(self.extended(&header)?);
                    once(&mut extended.link, link)?;
                }
                _ => return self.entry(&header, extended).map(Some),
            }
        }
    }

    /// Reads a header block; `None` at the archive's end.
    fn next_header(&mut self, header: &mut Header) -> Result<Option<()>, Failure> {
        if !self.block(header.as_mut_bytes())? {
            return Ok(None);
        }
        if header.as_bytes().iter().all(|b| *b == 0) {
            // Two such blocks end an archive. Readers differ on what one alone means.
            let mut second = [0; BLOCK];
            return match self.block(&mut second) {
                Ok(true) if second.iter().any(|b| *b != 0) => {
                    Err(ArchiveFault::LoneZeroBlock.into())
                }
                Err(Failure::Source(source)) => Err(Failure::Source(source)),
                Ok(_) | Err(Failure::Fault(_)) => Ok(None),
            };
        }
        self.name = header.path_bytes().into_owned();
        header::verify(header)?;
        Ok(Some(()))
    }

    /// Reads an extended header's data.
    fn extended(&mut self, header: &Header) -> Result<Vec<u8>, Failure> {
        let (size, limit) = (header::size(header)?, self.extended_limit);
        if size > limit {
            return Err(ArchiveFault::ExtendedSize { size, limit }.into());
        }
        self.begin_data(size);
        let mut data = Vec::new();
        while self.remaining > 0 {
            let piece = self.piece()?;
            let length = piece.len();
            data.extend_from_slice(piece);
            self.consume(length);
        }
        Ok(data)
    }

    fn entry(&mut self, header: &Header, extended: Extended) -> Result<Entry, Failure> {
        let Extended { pax, name, link } = extended;
        let mut pax = pax.unwrap_or_default();
        let fields = header::fields(header)?;
        // GNU tar puts a made-up path beside a sparse file's true name.
        let true_name = pax.sparse.name.take();
        let name = true_name
            .or(one_of(name, pax.path.take())?)
            .unwrap_or(fields.name);
        let link = one_of(link, pax.link.take())?.unwrap_or(fields.link);
        self.name.clone_from(&name);
        let kind = header::kind(header, &name)?;
        let size = match pax.size {
            Some(size) => size,
            None => header::size(header)?,
        };
        let mut entry = Entry {
            name,
            link,
            kind,
            mode: fields.mode,
            uid: id(pax.uid.unwrap_or(fields.uid), "owner")?,
            gid: id(pax.gid.unwrap_or(fields.gid), "group")?,
            mtime: pax.mtime.unwrap_or(fields.mtime),
            size: 0,
            xattrs: std::mem::take(&mut pax.xattrs),
            extents: None,
        };
        self.begin_data(stored_size(kind, size)?);
        if kind == Kind::File {
            entry.size = size;
            self.read_map(header, pax, &mut entry)?;
        }
        Ok(entry)
    }

    /// Reads the map of a file with holes, in whichever way it is given.
    fn read_map(&mut self, header: &Header, pax: Pax, entry: &mut Entry) -> Result<(), Failure> {
        let (map, real) = if header::flag(header) == b'S' {
            self.old_map(header)?
        } else if pax.sparse.is_given() {
            let real = pax
                .sparse
                .real_size
                .ok_or(sparse("without the file's size"))?;
            let map = match (pax.sparse.major.unwrap_or(0), pax.sparse.minor.unwrap_or(0)) {
                (0, 0 | 1) => Map::from_numbers(pax.sparse.map),
                (1, 0) => self.front_map()?,
                _ => return Err(sparse("of an unknown version").into()),
            };
            (map, real)
        } else {
            return Ok(());
        };
        entry.extents = Some(map.extents(self.remaining, real)?);
        entry.size = real;
        Ok(())
    }

    /// The old GNU map: four runs in the header, more in blocks between header and data.
    fn old_map(&mut self, header: &Header) -> Result<(Map, u64), Failure> {
        let gnu = header.as_gnu().ok_or(sparse("without a GNU header"))?;
        let mut map = Map::default();
        for entry in &gnu.sparse {
            map.push_old(entry)?;
        }
        let mut more = gnu.is_extended();
        while more {
            let mut block = GnuExtSparseHeader::new();
            if !self.block(block.as_mut_bytes())? {
                return Err(ArchiveFault::Truncated.into());
            }
            for entry in block.sparse() {
                map.push_old(entry)?;
            }
            more = block.is_extended();
        }
        let real = super::number::unsigned(&gnu.realsize);
        Ok((
            map,
            real.ok_or(ArchiveFault::Number { field: "real size" })?,
        ))
    }

    /// The pax 1.0 map: whole blocks at the front of the data.
    fn front_map(&mut self) -> Result<Map, Failure> {
        let mut map = FrontMap::default();
        loop {
            if self.remaining < BLOCK as u64 {
                return Err(sparse("cut off").into());
            }
            let mut block = [0; BLOCK];
            if !self.block(&mut block)? {
                return Err(ArchiveFault::Truncated.into());
            }
            self.remaining -= BLOCK as u64;
            if let Some(map) = map.feed(&block)? {
                return Ok(map);
            }
        }
    }

    fn begin_data(&mut self, size: u64) {
        self.remaining = size;
        self.padding = size.next_multiple_of(BLOCK as u64).wrapping_sub(size);
    }

    /// Passes over the rest of the current entry's data and its filling.
    fn skip_rest(&mut self) -> Result<(), Failure> {
        self.remaining += std::mem::take(&mut self.padding);
        while self.remaining > 0 {
            let length = self.piece()?.len();
            self.consume(length);
        }
        Ok(())
    }

    fn piece(&mut self) -> Result<&[u8], Failure> {
        self.data().map_err(|error| match error {
            ArchiveError::Source(source) => Failure::Source(source),
            ArchiveError::Refused(_, fault) => Failure::Fault(fault),
        })
    }

    /// Fills `block`; false at the stream's end, a fault if that comes in the middle.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, Failure> {
        let mut filled = 0;
        while filled < BLOCK {
            let piece = self.source.fill_buf().map_err(Failure::Source)?;
            if piece.is_empty() {
                return if filled == 0 {
                    Ok(false)
                } else {
                    Err(ArchiveFault::Truncated.into())
                };
            }
            let length = piece.len().min(BLOCK - filled);
            block[filled..filled + length].copy_from_slice(&piece[..length]);
            self.source.consume(length);
            filled += length;
        }
        Ok(true)
    }
}

impl Extended {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.name.is_none() && self.link.is_none()
    }
}

fn order(how: &'static str) -> ArchiveFault {
    ArchiveFault::ExtendedOrder { how }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), ArchiveFault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(order("two of a kind")),
    }
}

/// A GNU long name and a pax path together: readers disagree on which counts.
fn one_of(gnu: Option<Vec<u8>>, pax: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, ArchiveFault> {
    match (gnu, pax) {
        (Some(gnu), Some(pax)) if gnu != pax => Err(order("naming it differently")),
        (gnu, pax) => Ok(gnu.or(pax)),
    }
}

fn until_nul(mut data: Vec<u8>) -> Vec<u8> {
    let end = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    data.truncate(end);
    data
}

/// An owner that chown(2) would take as written.
fn id(value: u64, field: &'static str) -> Result<u32, ArchiveFault> {
    u32::try_from(value)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or(ArchiveFault::Number { field })
}

/// Bytes that follow the header. Readers disagree on kinds other than files: those have none.
/// All ignore the size of a hard link, which old writers set to its file's.
fn stored_size(kind: Kind, size: u64) -> Result<u64, ArchiveFault> {
    let kind = match kind {
        Kind::File if size <= i64::MAX.cast_unsigned() => return Ok(size),
        Kind::File => return Err(ArchiveFault::Number { field: "size" }),
        Kind::HardLink => return Ok(0),
        _ if size == 0 => return Ok(0),
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
        Kind::CharacterDevice { .. } | Kind::BlockDevice { .. } => "device",
        Kind::Fifo => "fifo",
    };
    Err(ArchiveFault::DataWithoutFile { kind, size })
}
