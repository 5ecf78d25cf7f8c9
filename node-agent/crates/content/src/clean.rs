//! What is known of each blob's durability: the `clean` list and this boot's markers.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use agent_types::Digest;

use crate::error::FileError;

/// Tells one file apart from another that later takes its name or its inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    /// Returns the size of the file.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Returns when the file was last written to.
    pub(crate) fn modified(&self) -> SystemTime {
        let nanoseconds = Duration::from_nanos(self.nanoseconds.unsigned_abs());
        match u64::try_from(self.seconds) {
            Ok(seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + nanoseconds,
            // Before 1970: a clock that was wrong.
            Err(_) => SystemTime::UNIX_EPOCH,
        }
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            inode: metadata.ino(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        }
    }
}

/// Reads the list; a missing or torn list means that nothing is known to be clean.
pub(crate) fn load(path: &Path) -> HashMap<Digest, Stamp> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(Digest, Stamp)> {
    let mut words = line.split(' ');
    let digest = words.next()?.parse().ok()?;
    let stamp = Stamp {
        size: words.next()?.parse().ok()?,
        inode: words.next()?.parse().ok()?,
        seconds: words.next()?.parse().ok()?,
        nanoseconds: words.next()?.parse().ok()?,
    };
    // The last word is a constant, so that a line cut short is not taken for a shorter number.
    (words.next() == Some("clean") && words.next().is_none()).then_some((digest, stamp))
}

/// Replaces the list. Its own data is synced before the rename, so it is whole or absent.
pub(crate) fn save(path: &Path, clean: &HashMap<Digest, Stamp>) -> Result<(), FileError> {
    let mut text = String::with_capacity(clean.len() * 128);
    for (digest, stamp) in clean {
        let Stamp {
            size,
            inode,
            seconds,
            nanoseconds,
        } = stamp;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{digest} {size} {inode} {seconds} {nanoseconds} clean"
        );
    }
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()
    };
    write().map_err(FileError::on("write", &temporary))?;
    fs::rename(&temporary, path).map_err(FileError::on("replace", path))
}

/// The markers of one boot: empty files named after blobs.
#[derive(Debug)]
pub(crate) struct Markers {
    directory: PathBuf,
}

impl Markers {
    /// Opens the markers of `boot_id` below `parent` and removes those of other boots.
    pub(crate) fn open(parent: &Path, boot_id: &str) -> Result<Self, FileError> {
        for entry in fs::read_dir(parent).map_err(FileError::on("read", parent))? {
            let entry = entry.map_err(FileError::on("read", parent))?;
            if entry.file_name() != boot_id {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(FileError::on("remove", &path))?;
            }
        }
        let directory = parent.join(boot_id);
        crate::store::make_directory(&directory)?;
        Ok(Self { directory })
    }

    /// Returns the blobs marked during this boot.
    pub(crate) fn list(&self) -> Result<HashSet<Digest>, FileError> {
        let mut found = HashSet::new();
        let failed = |error| FileError::on("read", &self.directory)(error);
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if let Some(digest) = name.to_str().and_then(digest_of_name) {
                found.insert(digest);
            }
        }
        Ok(found)
    }

    /// Marks a blob as committed or verified during this boot.
    pub(crate) fn add(&self, digest: &Digest) -> Result<(), FileError> {
        let path = self.directory.join(name_of(digest));
        File::create(&path)
            .map(drop)
            .map_err(FileError::on("make", &path))
    }

    /// Removes a blob's marker, if there is one.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<(), FileError> {
        crate::store::remove_file(&self.directory.join(name_of(digest)))
    }
}

/// Returns the one path component that stands for a digest.
pub(crate) fn name_of(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// Reads a path component made by [`name_of`].
pub(crate) fn digest_of_name(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.split_once('-')?;
    format!("{algorithm}:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_types::digest::Algorithm;

    #[test]
    fn a_torn_list_never_says_more_than_the_whole_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clean");
        let clean: HashMap<Digest, Stamp> = (0_u8..3)
            .map(|n| {
                let stamp = Stamp {
                    size: 1000 + u64::from(n),
                    inode: 77,
                    seconds: -5,
                    nanoseconds: 123,
                };
                (crate::Hasher::digest_of(Algorithm::Sha256, &[n]), stamp)
            })
            .collect();
        save(&path, &clean).unwrap();
        assert_eq!(load(&path), clean);
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            for (digest, stamp) in load(&path) {
                assert_eq!(clean.get(&digest), Some(&stamp), "cut at {cut}");
            }
        }
        fs::write(&path, vec![0; whole.len()]).unwrap();
        assert!(load(&path).is_empty());
    }

    #[test]
    fn names_round_trip_and_strangers_are_skipped() {
        let digest = crate::Hasher::digest_of(Algorithm::Sha512, b"x");
        assert_eq!(digest_of_name(&name_of(&digest)), Some(digest));
        assert_eq!(digest_of_name("sha256-zz"), None);
        assert_eq!(digest_of_name("lost+found"), None);
    }
}
