//! What another process has open, as procfs tells.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Dir, Mode, OFlags};

/// Descriptors of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenFiles {
    /// All of them.
    pub files: u64,
    /// Those that are sockets.
    pub sockets: u64,
}

/// Counts the descriptors of a process.
///
/// # Errors
/// When the process is gone.
pub fn open_files(pid: u32) -> io::Result<OpenFiles> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory: OwnedFd = rustix::fs::open(format!("/proc/{pid}/fd"), flags, Mode::empty())?;
    let mut counted = OpenFiles::default();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        if entry.file_name().to_bytes().starts_with(b".") {
            continue;
        }
        counted.files += 1;
        // One that was closed meanwhile is no socket either.
        let target = rustix::fs::readlinkat(&directory, entry.file_name(), Vec::new());
        if target.is_ok_and(|target| target.to_bytes().starts_with(b"socket:")) {
            counted.sockets += 1;
        }
    }
    Ok(counted)
}

/// Returns how many descriptors a process may have; `None` where there is no limit.
///
/// # Errors
/// When the process is gone.
pub fn open_files_limit(pid: u32) -> io::Result<Option<u64>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|rest| rest.split_whitespace().next());
    Ok(soft.and_then(|number| number.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptors_and_sockets_of_a_process_are_counted() {
        let pid = std::process::id();
        let before = open_files(pid).unwrap();
        let pair = UnixStream::pair().unwrap();
        let file = std::fs::File::open("/").unwrap();
        let after = open_files(pid).unwrap();
        // Other tests of this process open files too.
        assert!(
            after.files >= 3 && after.sockets >= 2,
            "{before:?} {after:?}"
        );
        assert!(open_files_limit(pid).unwrap().unwrap() > 3);
        drop((pair, file));
        assert!(open_files(u32::MAX).is_err() && open_files_limit(u32::MAX).is_err());
    }
}
