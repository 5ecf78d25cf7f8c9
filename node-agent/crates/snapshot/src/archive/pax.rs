//! Pax extended headers, parsed by their lengths.
//!
//! The `tar` crate's own parser splits records at newlines. A file capability may contain one, and
//! a hostile attribute could smuggle a `size` record behind one, so lengths decide here.

use super::error::ArchiveFault;
use super::number::decimal;
use super::{Mtime, Xattr};

/// Prefix of extended attributes.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What the pax headers before an entry say about it. A later record replaces an earlier one; an
/// empty value takes the record back, so that the plain header counts.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<Mtime>,
    pub xattrs: Vec<Xattr>,
    pub sparse: PaxSparse,
}

/// The three ways in which GNU tar describes holes in pax records.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    pub major: Option<u64>,
    pub minor: Option<u64>,
    pub name: Option<Vec<u8>>,
    pub real_size: Option<u64>,
    /// Offsets and lengths in turn, from format 0.0 or 0.1.
    pub map: Vec<u64>,
}

impl PaxSparse {
    /// Says whether any record spoke of holes.
    pub(super) fn is_given(&self) -> bool {
        self.major.is_some() || self.real_size.is_some() || !self.map.is_empty()
    }
}

/// Parses a local extended header.
pub(super) fn parse(data: &[u8]) -> Result<Pax, ArchiveFault> {
    let mut pax = Pax::default();
    each_record(data, |key, value| pax.set(key, value))?;
    Ok(pax)
}

/// Checks a global extended header: its records are ignored, unless one would change where
/// entries lie, as readers disagree on those.
pub(super) fn check_global(data: &[u8]) -> Result<(), ArchiveFault> {
    each_record(data, |key, _| {
        let moves =
            matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.");
        if moves { None } else { Some(()) }
    })
}

fn each_record(
    mut data: &[u8],
    mut take: impl FnMut(&[u8], &[u8]) -> Option<()>,
) -> Result<(), ArchiveFault> {
    while !data.is_empty() {
        let (key, value, rest) = split_record(data).ok_or_else(|| malformed(data))?;
        take(key, value).ok_or_else(|| malformed(key))?;
        data = rest;
    }
    Ok(())
}

/// Splits `length key=value\n` off the front.
fn split_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|b| *b == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    let record = data.get(space + 1..length)?;
    let (newline, record) = record.split_last()?;
    let equals = record.iter().position(|b| *b == b'=')?;
    let key = &record[..equals];
    let whole = *newline == b'\n' && !key.is_empty() && !key.contains(&0);
    whole.then(|| (key, &record[equals + 1..], &data[length..]))
}

fn malformed(key: &[u8]) -> ArchiveFault {
    let key = String::from_utf8_lossy(&key[..key.len().min(60)]).into_owned();
    ArchiveFault::PaxRecord { key }
}

impl Pax {
    /// Takes one record; `None` refuses it.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link = text(value)?,
            b"size" => self.size = optional(value, decimal)?,
            b"uid" => self.uid = optional(value, decimal)?,
            b"gid" => self.gid = optional(value, decimal)?,
            b"mtime" => self.mtime = optional(value, time)?,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.set_xattr(name, value)?;
                } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(name, value)?;
                }
            }
        }
        Some(())
    }

    fn set_xattr(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        if name.is_empty() || name.len() > 255 {
            return None;
        }
        self.xattrs.retain(|xattr| xattr.name != name);
        self.xattrs.push(Xattr {
            name: name.to_vec(),
            value: value.to_vec(),
        });
        Some(())
    }
}

impl PaxSparse {
    fn set(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        match name {
            b"major" => self.major = Some(decimal(value)?),
            b"minor" => self.minor = Some(decimal(value)?),
            b"name" => self.name = text(value)?,
            b"realsize" | b"size" => self.real_size = Some(decimal(value)?),
            b"offset" | b"numbytes" => {
                let expected = if name == b"offset" { 0 } else { 1 };
                (self.map.len() % 2 == expected).then_some(())?;
                self.map.push(decimal(value)?);
            }
            b"map" => {
                let numbers = value.split(|b| *b == b',').map(decimal);
                self.map = numbers.collect::<Option<_>>()?;
            }
            _ => {}
        }
        Some(())
    }
}

/// A path: without NUL; empty takes it back.
fn text(value: &[u8]) -> Option<Option<Vec<u8>>> {
    optional(value, |v| (!v.contains(&0)).then(|| v.to_vec()))
}

fn optional<T>(value: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value.is_empty() {
        return Some(None);
    }
    read(value).map(Some)
}

/// Reads `[-]seconds[.fraction]`; digits beyond nanoseconds are cut.
fn time(value: &[u8]) -> Option<Mtime> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let dot = value.iter().position(|b| *b == b'.').unwrap_or(value.len());
    let seconds = i64::try_from(decimal(&value[..dot])?).ok()?;
    let fraction = value.get(dot + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(b"000000000").take(9);
    let nanos = digits.fold(0_u32, |n, b| n * 10 + u32::from(b - b'0'));
    Some(match (negative, nanos) {
        (false, _) => Mtime { seconds, nanos },
        (true, 0) => Mtime {
            seconds: -seconds,
            nanos: 0,
        },
        (true, _) => Mtime {
            seconds: -seconds - 1,
            nanos: 1_000_000_000 - nanos,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while length != body + length.to_string().len() {
            length += 1;
        }
        let mut out = format!("{length} ").into_bytes();
        out.extend_from_slice(key);
        out.push(b'=');
        out.extend_from_slice(value);
        out.push(b'\n');
        out
    }

    #[test]
    fn a_newline_in_an_attribute_smuggles_no_size() {
        let hostile = b"x\n12 size=999\n";
        let pax = parse(&record(b"SCHILY.xattr.user.a", hostile)).unwrap();
        assert_eq!(pax.size, None);
        assert_eq!(pax.xattrs[0].value, hostile);
    }

    #[test]
    fn the_last_record_counts_and_an_empty_one_takes_back() {
        let data = [record(b"size", b"5"), record(b"size", b"7")].concat();
        assert_eq!(parse(&data).unwrap().size, Some(7));
        let data = [record(b"size", b"5"), record(b"size", b"")].concat();
        assert_eq!(parse(&data).unwrap().size, None);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"5 a=b"[..],
            b"99 a=b\n",
            b"6 a=bc\n",
            b"+6 a=b\n",
            b" 6 a=b\n",
            b"6  =b\n\n",
            b"0 \n",
            b"18446744073709551616 a=b\n",
            b"5 =b\n",
        ] {
            assert!(parse(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
        for (key, value) in [
            (&b"size"[..], &b"-1"[..]),
            (b"size", b"1e3"),
            (b"path", b"a\0b"),
            (b"mtime", b"1.x"),
            (b"uid", b"0x0"),
            (b"SCHILY.xattr.", b"v"),
        ] {
            assert!(parse(&record(key, value)).is_err());
        }
    }

    #[test]
    fn times_have_nanoseconds_and_a_sign() {
        let at = |text: &[u8]| parse(&record(b"mtime", text)).unwrap().mtime.unwrap();
        assert_eq!(
            at(b"12.5"),
            Mtime {
                seconds: 12,
                nanos: 500_000_000
            }
        );
        assert_eq!(
            at(b"12.1234567899"),
            Mtime {
                seconds: 12,
                nanos: 123_456_789
            }
        );
        assert_eq!(
            at(b"-1.25"),
            Mtime {
                seconds: -2,
                nanos: 750_000_000
            }
        );
        assert_eq!(
            at(b"-3"),
            Mtime {
                seconds: -3,
                nanos: 0
            }
        );
    }

    #[test]
    fn a_global_header_cannot_move_entries() {
        assert!(check_global(&record(b"comment", b"abc")).is_ok());
        for key in [&b"size"[..], b"path", b"linkpath", b"GNU.sparse.major"] {
            assert!(check_global(&record(key, b"1")).is_err());
        }
    }

    proptest! {
        #[test]
        fn values_are_binary_safe(value in any::<Vec<u8>>()) {
            let pax = parse(&record(b"SCHILY.xattr.security.capability", &value)).unwrap();
            prop_assert_eq!(&pax.xattrs[0].value, &value);
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(data in any::<Vec<u8>>()) {
            let _ = parse(&data);
        }
    }
}
