//! Reading and writing the small files of a cgroup, relative to a directory descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Opens a directory below `at`.
pub(crate) fn open_directory(at: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// Opens a file to read it.
pub(crate) fn open(at: BorrowedFd<'_>, file: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Writes `value` in one call, as every cgroup file demands.
pub(crate) fn write(at: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Errno> {
    let fd = open_for_writing(at, file)?;
    write_value(fd.as_fd(), value)
}

/// Opens a file to write several values one after the other.
pub(crate) fn open_for_writing(at: BorrowedFd<'_>, file: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Writes one value to an open file.
pub(crate) fn write_value(file: BorrowedFd<'_>, value: &str) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::io::write(file, value.as_bytes())).map(|_| ())
}

/// Reads a whole file as text. Bytes that are not UTF-8 do not occur in cgroup files.
pub(crate) fn read(at: BorrowedFd<'_>, file: &str) -> Result<String, Errno> {
    let fd = open(at, file)?;
    let mut content = Vec::new();
    let mut buffer = [0_u8; 4096];
    loop {
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut buffer))?;
        if count == 0 {
            break;
        }
        content.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(content).map_err(|_| Errno::ILSEQ)
}

/// Reads a file that holds one number; `max` reads as `None`.
pub(crate) fn read_number(at: BorrowedFd<'_>, file: &str) -> Result<Option<u64>, Errno> {
    let text = read(at, file)?;
    match text.trim() {
        "max" => Ok(None),
        number => number.parse().map(Some).map_err(|_| Errno::INVAL),
    }
}

/// Returns the number after `key` in a file of `key value` lines.
pub(crate) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

/// Makes a missing file (a controller that is not enabled here) read as `None`.
pub(crate) fn if_present<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Returns the names of the cgroups directly below `directory`.
pub(crate) fn children(directory: BorrowedFd<'_>) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_whole_key() {
        let text = "nr_periods 3\nnr_throttled 12\nthrottled_time 99\n";
        assert_eq!(value_of(text, "nr_throttled"), Some(12));
        assert_eq!(value_of(text, "throttled"), None);
        assert_eq!(value_of("oom_kill x\n", "oom_kill"), None);
    }

    #[test]
    fn a_long_file_is_read_whole_and_max_is_no_number() {
        let directory = tempfile::tempdir().unwrap();
        let long = "7 ".repeat(10_000);
        std::fs::write(directory.path().join("long"), &long).unwrap();
        std::fs::write(directory.path().join("max"), "max\n").unwrap();
        std::fs::create_dir(directory.path().join("child")).unwrap();
        let fd = std::fs::File::open(directory.path()).unwrap();
        assert_eq!(read(fd.as_fd(), "long").unwrap(), long);
        assert_eq!(read_number(fd.as_fd(), "max"), Ok(None));
        assert_eq!(read_number(fd.as_fd(), "long"), Err(Errno::INVAL));
        assert_eq!(if_present(read(fd.as_fd(), "absent")), Ok(None));
        assert_eq!(children(fd.as_fd()).unwrap(), ["child"]);
    }
}
