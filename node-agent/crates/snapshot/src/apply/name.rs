//! What an entry's name means: a place in the layer, a whiteout, or nothing.

use super::error::Refusal;

/// Longest component and longest path the kernel takes.
const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4095;

/// Marks the deletion of what the layers below have.
const WHITEOUT: &[u8] = b".wh.";
/// Marks what the union file system of old kept for itself.
const WHITEOUT_META: &[u8] = b".wh..wh.";
/// Hides everything that the layers below have in this directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry is about. Paths are relative, without `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The layer's root directory.
    Root,
    /// `name` in the directory `parent`.
    At { parent: Vec<u8>, name: Vec<u8> },
    /// The whiteout of `name` in `parent`.
    Whiteout { parent: Vec<u8>, name: Vec<u8> },
    /// The directory that becomes opaque.
    Opaque { directory: Vec<u8> },
    /// Bookkeeping of another union file system.
    Ignored,
}

impl Place {
    /// Reads an entry's name. `..` takes back the component before it, and stops at the root.
    pub(super) fn of(name: &[u8]) -> Result<Self, Refusal> {
        let mut components = clean(name)?;
        let Some(last) = components.pop() else {
            return Ok(Self::Root);
        };
        let meta = |c: &&[u8]| c.starts_with(WHITEOUT_META);
        if components.iter().any(meta) {
            return Ok(Self::Ignored);
        }
        if components.iter().any(|c| c.starts_with(WHITEOUT)) {
            return Err(Refusal::BelowWhiteout);
        }
        let parent = components.join(&b'/');
        if last == OPAQUE {
            return Ok(Self::Opaque { directory: parent });
        }
        if meta(&last) {
            return Ok(Self::Ignored);
        }
        match last.strip_prefix(WHITEOUT) {
            None => Ok(Self::At {
                parent,
                name: last.to_vec(),
            }),
            Some(b"" | b"." | b"..") => Err(Refusal::WhiteoutName),
            Some(name) => Ok(Self::Whiteout {
                parent,
                name: name.to_vec(),
            }),
        }
    }
}

/// Splits a path into components, without the empty ones, `.` and `..`.
fn clean(path: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    if path.contains(&0) {
        return Err(Refusal::Nul);
    }
    let mut components = Vec::new();
    for component in path.split(|b| *b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop();
            }
            long if long.len() > NAME_MAX => {
                return Err(Refusal::TooLong {
                    length: long.len(),
                    limit: NAME_MAX,
                });
            }
            component => components.push(component),
        }
    }
    let length = components.iter().map(|c| c.len() + 1).sum::<usize>();
    if length > PATH_MAX {
        return Err(Refusal::TooLong {
            length,
            limit: PATH_MAX,
        });
    }
    Ok(components)
}

/// Joins a canonical parent and a name.
pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        return name.to_vec();
    }
    [parent, name].join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(parent: &[u8], name: &[u8]) -> Place {
        Place::At {
            parent: parent.to_vec(),
            name: name.to_vec(),
        }
    }

    #[test]
    fn names_are_cleaned_and_stay_inside() {
        for (name, place) in [
            (&b"a/b"[..], at(b"a", b"b")),
            (b"./a//b/", at(b"a", b"b")),
            (b"/etc/passwd", at(b"etc", b"passwd")),
            (b"../../etc/passwd", at(b"etc", b"passwd")),
            (b"a/../../b", at(b"", b"b")),
            (b"", Place::Root),
            (b"./", Place::Root),
            (b"/", Place::Root),
            (b"a/..", Place::Root),
        ] {
            assert_eq!(Place::of(name).unwrap(), place);
        }
    }

    #[test]
    fn whiteouts_name_exactly_one_sibling() {
        let whiteout = Place::Whiteout {
            parent: b"a".to_vec(),
            name: b"b".to_vec(),
        };
        assert_eq!(Place::of(b"a/.wh.b").unwrap(), whiteout);
        let opaque = Place::Opaque {
            directory: b"a".to_vec(),
        };
        assert_eq!(Place::of(b"a/.wh..wh..opq").unwrap(), opaque);
        for bad in [&b".wh."[..], b".wh..", b".wh...", b"a/.wh..", b".wh.a/b"] {
            assert!(Place::of(bad).is_err(), "{bad:?}");
        }
        for ignored in [
            &b".wh..wh.aufs"[..],
            b".wh..wh.plnk/12.34",
            b"a/.wh..wh..tmp",
        ] {
            assert_eq!(Place::of(ignored).unwrap(), Place::Ignored, "{ignored:?}");
        }
    }

    #[test]
    fn what_the_kernel_cannot_name_is_refused() {
        assert!(Place::of(&[b'a'; 255]).is_ok());
        assert!(Place::of(&[b'a'; 256]).is_err());
        assert!(Place::of(&b"ab/".repeat(1365)).is_ok());
        assert!(Place::of(&b"ab/".repeat(1366)).is_err());
        assert!(Place::of(b"a\0b").is_err());
    }

    proptest! {
        #[test]
        fn no_place_has_a_way_out(name in proptest::collection::vec(
            proptest::sample::select(vec![&b".."[..], b".", b"", b"a", b".wh.", b".wh...", b"b"]), 0..8)
        ) {
            if let Ok(Place::At { parent, name } | Place::Whiteout { parent, name }) = Place::of(&name.join(&b'/')) {
                for component in parent.split(|b| *b == b'/').chain([&name[..]]) {
                    prop_assert!(component != b".." && component != b".");
                }
                prop_assert!(!name.contains(&b'/'));
            }
        }
    }
}
