//! The files of a log: the one being written, and the older ones behind it, numbered from 1. They may
//! move on by one at any moment.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How often a list is made again that a rotation has disturbed.
const ATTEMPTS: usize = 10;

/// One file, and which it is: names move, these do not.
struct Found {
    file: File,
    identity: (u64, u64),
}

fn open(path: &Path) -> io::Result<Option<Found>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(Found {
        identity: identity(&file)?,
        file,
    }))
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let data = file.metadata()?;
    Ok((data.dev(), data.ino()))
}

fn old(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Opens what is there, the newest first. A rotation meanwhile shows a file twice.
fn scan(path: &Path) -> io::Result<Vec<Found>> {
    let mut found: Vec<Found> = open(path)?.into_iter().collect();
    let mut free = false;
    for number in 1.. {
        match open(&old(path, number))? {
            Some(file) => {
                free = false;
                found.push(file);
            }
            // A rotation that is under way leaves one number free for a moment.
            None if !free => free = true,
            None => break,
        }
    }
    Ok(found)
}

/// Opens the log and its rotated predecessors, the oldest first; blocking.
pub(super) fn all(path: &Path) -> io::Result<Vec<File>> {
    let mut found = scan(path)?;
    for _ in 0..ATTEMPTS {
        let now = open(path)?.map(|file| file.identity);
        if now == found.first().map(|file| file.identity) {
            break;
        }
        found = scan(path)?;
    }
    let mut files: Vec<Found> = Vec::new();
    for next in found {
        if files.iter().all(|file| file.identity != next.identity) {
            files.push(next);
        }
    }
    Ok(files.into_iter().rev().map(|found| found.file).collect())
}

/// Opens the file that comes after `current`; `None` while that is the newest. Where `current` is
/// gone, rotated out, the oldest that is left comes next.
pub(super) fn next(path: &Path, current: Option<&File>) -> io::Result<Option<File>> {
    let Some(current) = current else {
        return Ok(all(path)?.into_iter().next());
    };
    let current = identity(current)?;
    let newest = open(path)?;
    if newest.is_none_or(|file| file.identity == current) {
        // Or it is between two files, or removed with its container.
        return Ok(None);
    }
    let mut after = None;
    for found in scan(path)? {
        if found.identity == current {
            break;
        }
        after = Some(found.file);
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn text(mut file: File) -> String {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    }

    fn rotate(path: &Path, keep: u32, new: &str) {
        for number in (1..keep).rev() {
            let _ = std::fs::rename(old(path, number), old(path, number + 1));
        }
        std::fs::rename(path, old(path, 1)).unwrap();
        std::fs::write(path, new).unwrap();
    }

    #[test]
    fn no_file_between_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "1").unwrap();
        let first = File::open(&path).unwrap();
        assert!(next(&path, Some(&first)).unwrap().is_none());
        for new in ["2", "3", "4"] {
            rotate(&path, 5, new);
        }
        let second = next(&path, Some(&first)).unwrap().unwrap();
        let third = next(&path, Some(&second)).unwrap().unwrap();
        let fourth = next(&path, Some(&third)).unwrap().unwrap();
        assert!(next(&path, Some(&fourth)).unwrap().is_none());
        assert_eq!([second, third, fourth].map(text), ["2", "3", "4"]);
        let all = all(&path).unwrap();
        let all: Vec<_> = all.into_iter().map(text).collect();
        assert_eq!(all, ["1", "2", "3", "4"]);
    }

    #[test]
    fn a_rotation_under_way_hides_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "1").unwrap();
        let first = File::open(&path).unwrap();
        for new in ["2", "3", "4"] {
            rotate(&path, 5, new);
        }
        // The oldest have made room, the newest has not moved yet.
        for number in [3, 2] {
            std::fs::rename(old(&path, number), old(&path, number + 1)).unwrap();
        }
        let all: Vec<_> = all(&path).unwrap().into_iter().map(text).collect();
        assert_eq!(all, ["1", "2", "3", "4"]);
        let second = next(&path, Some(&first)).unwrap().unwrap();
        assert_eq!(text(second), "2");
    }

    #[test]
    fn one_that_was_rotated_out_is_followed_by_the_oldest() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "1").unwrap();
        let first = File::open(&path).unwrap();
        for new in ["2", "3", "4"] {
            rotate(&path, 1, new);
        }
        let after = next(&path, Some(&first)).unwrap().unwrap();
        assert_eq!(text(after), "3");
        std::fs::remove_file(&path).unwrap();
        assert!(next(&path, Some(&first)).unwrap().is_none());
        assert!(
            next(&directory.path().join("none"), None)
                .unwrap()
                .is_none()
        );
    }
}
