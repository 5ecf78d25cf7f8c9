//! The log file: appended to, rotated by size, opened again by name.
//!
//! Everything goes through the directory descriptor that the agent sent, so no path is followed
//! twice and a directory moved away in between changes nothing.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Why a log file could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The name is not one path component.
    #[error("log file name {name:?} is not a file name")]
    Name { name: String },
    /// The kernel refused.
    #[error("log file {name:?} could not be opened")]
    Open {
        name: String,
        source: std::io::Error,
    },
    /// Something else than a regular file has the name.
    #[error("log file {name:?} is not a regular file")]
    NotRegular { name: String },
}

/// When to start a new file, and how many old ones to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotation {
    pub(crate) max_size: u64,
    pub(crate) max_files: u32,
}

/// An open log file.
#[derive(Debug)]
pub(crate) struct LogFile {
    directory: OwnedFd,
    name: String,
    file: OwnedFd,
    size: u64,
    rotation: Option<Rotation>,
}

impl LogFile {
    /// Opens or makes the file `name` in `directory`.
    pub(crate) fn open(
        directory: OwnedFd,
        name: String,
        rotation: Option<Rotation>,
    ) -> Result<Self, LogError> {
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(LogError::Name { name });
        }
        let (file, size) = open(&directory, &name)?;
        Ok(Self {
            directory,
            name,
            file,
            size,
            rotation,
        })
    }

    /// Opens the file by name again: somebody has renamed the old one.
    ///
    /// On failure the old one stays in use, so that nothing is lost.
    pub(crate) fn reopen(&mut self) -> Result<(), LogError> {
        (self.file, self.size) = open(&self.directory, &self.name)?;
        Ok(())
    }

    /// Appends whole records; returns how many were dropped because the disk takes no more.
    pub(crate) fn append(&mut self, mut records: &[u8]) -> u64 {
        let mut dropped = 0;
        while !records.is_empty() {
            let room = self.room();
            let take = if (records.len() as u64) <= room {
                records.len()
            } else {
                // At least one record goes into each file, however small the limit.
                match whole_records_within(records, room) {
                    0 if self.size == 0 => {
                        whole_records_within(records, u64::MAX).min(first_record(records))
                    }
                    0 => {
                        self.rotate();
                        continue;
                    }
                    length => length,
                }
            };
            let (now, later) = records.split_at(take);
            dropped += self.write(now);
            records = later;
        }
        dropped
    }

    /// Bytes left before the file must be rotated.
    fn room(&self) -> u64 {
        self.rotation.map_or(u64::MAX, |rotation| {
            rotation.max_size.saturating_sub(self.size)
        })
    }

    /// Writes records; what cannot be written is taken back to the last whole record.
    fn write(&mut self, records: &[u8]) -> u64 {
        let mut written = 0;
        while let Some(rest) = records.get(written..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(&self.file, rest) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.size += written as u64;
        if written == records.len() {
            return 0;
        }
        let torn = written - whole_records_within(&records[..written], u64::MAX);
        if torn > 0 {
            self.take_back(torn as u64);
        }
        count_newlines(&records[written - torn..])
    }

    /// Cuts the torn record off the end of the file: half a record would spoil the next one too.
    fn take_back(&mut self, torn: u64) {
        let Ok(status) = rustix::fs::fstat(&self.file) else {
            return;
        };
        let size = u64::try_from(status.st_size).unwrap_or_default();
        // Without room even this may fail; then the record after it is misread, and only that.
        if rustix::fs::ftruncate(&self.file, size.saturating_sub(torn)).is_ok() {
            self.size = self.size.saturating_sub(torn);
        }
    }

    /// Moves the files on by one and starts a new one; goes on with the old one if that fails.
    fn rotate(&mut self) {
        let Some(rotation) = self.rotation else {
            return;
        };
        let old = |number: u32| format!("{}.{number}", self.name);
        for number in (1..rotation.max_files).rev() {
            let _ = self.rename(&old(number), &old(number + 1));
        }
        let moved = if rotation.max_files == 0 {
            rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty())
        } else {
            self.rename(&self.name, &old(1))
        };
        // The name being gone is as good: then the file is new in any case.
        if matches!(moved, Ok(()) | Err(Errno::NOENT)) {
            let _ = self.reopen();
        }
        if self.size > 0 {
            // No new file can be had. One try a file size, not one a record.
            self.size = 0;
        }
    }

    fn rename(&self, from: &str, to: &str) -> rustix::io::Result<()> {
        rustix::fs::renameat(&self.directory, from, &self.directory, to)
    }
}

fn open(directory: &OwnedFd, name: &str) -> Result<(OwnedFd, u64), LogError> {
    // NONBLOCK: the name could be a FIFO somebody left there, and opening one waits for a reader.
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let failed = |errno: Errno| LogError::Open {
        name: name.to_owned(),
        source: errno.into(),
    };
    let file =
        rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o640)).map_err(failed)?;
    let status = rustix::fs::fstat(&file).map_err(failed)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(LogError::NotRegular {
            name: name.to_owned(),
        });
    }
    Ok((file, u64::try_from(status.st_size).unwrap_or_default()))
}

/// Returns the length of the whole records that fit into `limit` bytes.
fn whole_records_within(records: &[u8], limit: u64) -> usize {
    let limit = usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .min(records.len());
    records[..limit]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |last| last + 1)
}

/// Returns the length of the first record.
fn first_record(records: &[u8]) -> usize {
    let newline = records.iter().position(|byte| *byte == b'\n');
    newline.map_or(records.len(), |newline| newline + 1)
}

fn count_newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn open_in(directory: &Path, rotation: Option<Rotation>) -> LogFile {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(directory, flags, Mode::empty()).unwrap();
        LogFile::open(handle, "0.log".into(), rotation).unwrap()
    }

    fn read(directory: &Path, name: &str) -> String {
        std::fs::read_to_string(directory.join(name)).unwrap_or_default()
    }

    #[test]
    fn rotation_keeps_whole_records_and_the_newest_files() {
        let directory = tempfile::tempdir().unwrap();
        let rotation = Some(Rotation {
            max_size: 8,
            max_files: 2,
        });
        let mut log = open_in(directory.path(), rotation);
        assert_eq!(log.append(b"aa\nbb\ncc\ndd\n"), 0);
        assert_eq!(log.append(b"ee\nff\na very long one\ngg\n"), 0);
        assert_eq!(read(directory.path(), "0.log"), "gg\n");
        assert_eq!(read(directory.path(), "0.log.1"), "a very long one\n");
        assert_eq!(read(directory.path(), "0.log.2"), "ee\nff\n");
        assert!(!directory.path().join("0.log.3").exists());
    }

    #[test]
    fn rotation_without_old_files_starts_over() {
        let directory = tempfile::tempdir().unwrap();
        let rotation = Some(Rotation {
            max_size: 4,
            max_files: 0,
        });
        let mut log = open_in(directory.path(), rotation);
        log.append(b"aa\nbb\ncc\n");
        assert_eq!(read(directory.path(), "0.log"), "cc\n");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_existing_file_is_continued_and_counts() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("0.log"), "old\n").unwrap();
        let rotation = Some(Rotation {
            max_size: 6,
            max_files: 1,
        });
        let mut log = open_in(directory.path(), rotation);
        log.append(b"new\n");
        assert_eq!(read(directory.path(), "0.log.1"), "old\n");
        assert_eq!(read(directory.path(), "0.log"), "new\n");
    }

    #[test]
    fn reopening_follows_the_name_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = open_in(directory.path(), None);
        log.append(b"one\n");
        std::fs::rename(directory.path().join("0.log"), directory.path().join("old")).unwrap();
        log.append(b"two\n");
        log.reopen().unwrap();
        log.append(b"three\n");
        assert_eq!(read(directory.path(), "old"), "one\ntwo\n");
        assert_eq!(read(directory.path(), "0.log"), "three\n");
    }

    #[test]
    fn a_full_disk_drops_whole_records_and_counts_them() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = open_in(directory.path(), None);
        log.file = rustix::fs::open("/dev/full", OFlags::WRONLY, Mode::empty()).unwrap();
        assert_eq!(log.append(b"one\ntwo\nthree\n"), 3);
        log.reopen().unwrap();
        assert_eq!(log.append(b"four\n"), 0);
        assert_eq!(read(directory.path(), "0.log"), "four\n");
    }

    #[test]
    fn names_that_are_paths_links_and_fifos_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let handle = || {
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(directory.path(), flags, Mode::empty()).unwrap()
        };
        for name in ["", ".", "..", "a/b", "/etc/passwd", "a\0b"] {
            let error = LogFile::open(handle(), name.into(), None).unwrap_err();
            assert!(matches!(error, LogError::Name { .. }), "{name:?}: {error}");
        }
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link")).unwrap();
        let error = LogFile::open(handle(), "link".into(), None).unwrap_err();
        assert!(matches!(error, LogError::Open { .. }), "{error}");
        nix::unistd::mkfifo(
            &directory.path().join("fifo"),
            nix::sys::stat::Mode::S_IRWXU,
        )
        .unwrap();
        assert!(LogFile::open(handle(), "fifo".into(), None).is_err());
    }
}
