//! One header block: its checksum and its fields.

use tar::Header;

use super::error::ArchiveFault;
use super::number::{number, unsigned};
use super::{Kind, Mtime};

/// The fields of a header that matter for any kind of block.
#[derive(Debug)]
pub(super) struct Fields {
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: Mtime,
}

/// Checks the sum over the block; old writers added bytes as signed ones.
pub(super) fn verify(header: &Header) -> Result<(), ArchiveFault> {
    let bytes = header.as_bytes();
    let counted = || bytes[..148].iter().chain(&bytes[156..]);
    let blanks = 8 * i128::from(b' ');
    let plain: i128 = counted().map(|b| i128::from(*b)).sum();
    let signed: i128 = counted().map(|b| i128::from(b.cast_signed())).sum();
    match number(&header.as_old().cksum) {
        Some(sum) if sum == plain + blanks || sum == signed + blanks => Ok(()),
        _ => Err(ArchiveFault::Checksum),
    }
}

/// Returns the size field.
pub(super) fn size(header: &Header) -> Result<u64, ArchiveFault> {
    unsigned(&header.as_old().size).ok_or(ArchiveFault::Number { field: "size" })
}

/// Returns the type flag, the one byte that says what the block is.
pub(super) fn flag(header: &Header) -> u8 {
    header.as_old().linkflag[0]
}

/// Returns the other fields.
pub(super) fn fields(header: &Header) -> Result<Fields, ArchiveFault> {
    let old = header.as_old();
    let fault = |field| ArchiveFault::Number { field };
    let mode = number(&old.mode).ok_or(fault("mode"))? & 0o7777;
    let seconds = number(&old.mtime).ok_or(fault("time"))?;
    Ok(Fields {
        name: header.path_bytes().into_owned(),
        link: header.link_name_bytes().unwrap_or_default().into_owned(),
        mode: u32::try_from(mode).map_err(|_| fault("mode"))?,
        uid: unsigned(&old.uid).ok_or(fault("owner"))?,
        gid: unsigned(&old.gid).ok_or(fault("group"))?,
        mtime: Mtime {
            seconds: i64::try_from(seconds).map_err(|_| fault("time"))?,
            nanos: 0,
        },
    })
}

/// Returns what an entry with this type flag makes.
pub(super) fn kind(header: &Header, name: &[u8]) -> Result<Kind, ArchiveFault> {
    Ok(match flag(header) {
        // Writers from before directories had a flag end their names with a slash.
        0 | b'0' | b'7' if name.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => {
            let (major, minor) = device(header)?;
            Kind::CharacterDevice { major, minor }
        }
        b'4' => {
            let (major, minor) = device(header)?;
            Kind::BlockDevice { major, minor }
        }
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        flag => return Err(ArchiveFault::TypeFlag { flag }),
    })
}

/// Device numbers in the range that Linux has.
fn device(header: &Header) -> Result<(u32, u32), ArchiveFault> {
    let fault = ArchiveFault::Number {
        field: "device number",
    };
    let (major, minor) = if let Some(ustar) = header.as_ustar() {
        (&ustar.dev_major, &ustar.dev_minor)
    } else if let Some(gnu) = header.as_gnu() {
        (&gnu.dev_major, &gnu.dev_minor)
    } else {
        return Err(fault);
    };
    let within = |field: &[u8], limit: u64| {
        let number = unsigned(field).filter(|n| *n <= limit)?;
        u32::try_from(number).ok()
    };
    within(major, 0xfff)
        .zip(within(minor, 0xf_ffff))
        .ok_or(fault)
}
