//! Giving files a label: a volume's, for the container that is to use it.
//!
//! A container may be at work in the very files, and put links where directories were. So everything
//! is reached from the descriptor of the directory that holds it, and no link is followed but those
//! of the path itself.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use crate::error::RelabelError;

/// Where the kernel keeps it.
const ATTRIBUTE: &str = "security.selinux";

/// Most directories within each other.
const MAX_DEPTH: usize = 2048;

/// Trees without which the machine does not work.
const SYSTEM: [&str; 12] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin",
    "/sys", "/usr",
];

/// Directories that hold everybody's; what is in them may be somebody's.
const SHARED: [&str; 16] = [
    "/",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/run",
    "/srv",
    "/tmp",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

/// Gives a file, or a directory with all that is in it, a label. Blocking.
///
/// File systems without labels stay as they are: what they show is decided as they are mounted.
///
/// # Errors
/// Refuses what belongs to the system, wherever links lead to it.
pub fn relabel(path: &Path, label: &str) -> Result<(), RelabelError> {
    let failed = |source: io::Error| RelabelError::Set {
        path: path.to_owned(),
        label: label.to_owned(),
        source,
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let top = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    let real = std::fs::read_link(by_descriptor(top.as_fd())).map_err(failed)?;
    if is_of_the_system(&real) {
        return Err(RelabelError::System { path: real });
    }
    let kind = rustix::fs::fstat(&top).map_err(|error| failed(error.into()))?;
    let kind = FileType::from_raw_mode(kind.st_mode);
    match set(&by_descriptor(top.as_fd()), label, Links::Follow) {
        // What is mounted below it would be another volume.
        Err(Errno::NOTSUP) => return Ok(()),
        other => other.map_err(|error| failed(error.into()))?,
    }
    if kind != FileType::Directory {
        return Ok(());
    }
    match walk(&top, label) {
        Ok(()) => Ok(()),
        Err(Stopped::Deep) => Err(RelabelError::Deep {
            path: real,
            limit: MAX_DEPTH,
        }),
        Err(Stopped::At(error)) => Err(failed(error.into())),
    }
}

/// Gives one file of the node's own a label; where the file system has none it stays as it is.
///
/// # Errors
/// What the kernel said.
pub fn label_file(path: &Path, label: &str) -> Result<(), RelabelError> {
    match set(path, label, Links::Stay) {
        Ok(()) | Err(Errno::NOTSUP) => Ok(()),
        Err(error) => Err(RelabelError::Set {
            path: path.to_owned(),
            label: label.to_owned(),
            source: error.into(),
        }),
    }
}

fn is_of_the_system(path: &Path) -> bool {
    let shared = SHARED.iter().any(|shared| path == Path::new(shared));
    shared || SYSTEM.iter().any(|system| path.starts_with(system))
}

enum Stopped {
    Deep,
    At(Errno),
}

impl From<Errno> for Stopped {
    fn from(error: Errno) -> Self {
        Self::At(error)
    }
}

/// Labels what is in a directory, level by level.
fn walk(top: &OwnedFd, label: &str) -> Result<(), Stopped> {
    let mut open = vec![enter(top.as_fd(), OsStr::new("."))?];
    while let Some((directory, entries)) = open.last_mut() {
        let Some(entry) = entries.read() else {
            open.pop();
            continue;
        };
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let path = by_descriptor(directory.as_fd()).join(name);
        match set(&path, label, Links::Stay) {
            Ok(()) => {}
            // Gone by now, or on a file system without labels.
            Err(Errno::NOENT | Errno::NOTSUP) => continue,
            Err(error) => return Err(error.into()),
        }
        let may_be_directory = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
        if !may_be_directory {
            continue;
        }
        match enter(directory.as_fd(), name) {
            Ok(_) if open.len() >= MAX_DEPTH => return Err(Stopped::Deep),
            Ok(entered) => open.push(entered),
            // It is another file by now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn enter(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(OwnedFd, Dir), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let entries = Dir::read_from(&directory)?;
    Ok((directory, entries))
}

fn by_descriptor(file: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// What is done about a path that is a link.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Follow,
    Stay,
}

/// Sets a label where another one is.
fn set(path: &Path, label: &str, links: Links) -> Result<(), Errno> {
    let mut now = [0_u8; 4096];
    let length = match links {
        Links::Follow => rustix::fs::getxattr(path, ATTRIBUTE, &mut now),
        Links::Stay => rustix::fs::lgetxattr(path, ATTRIBUTE, &mut now),
    };
    let now = length.ok().and_then(|length| now.get(..length));
    let now = now.map(|now| now.strip_suffix(b"\0").unwrap_or(now));
    if now == Some(label.as_bytes()) {
        return Ok(());
    }
    let (value, flags) = (label.as_bytes(), XattrFlags::empty());
    match links {
        Links::Follow => rustix::fs::setxattr(path, ATTRIBUTE, value, flags),
        Links::Stay => rustix::fs::lsetxattr(path, ATTRIBUTE, value, flags),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_belongs_to_the_system_is_refused_also_through_links() {
        let place = tempfile::tempdir().unwrap();
        let link = place.path().join("link");
        for target in ["/", "/etc", "/usr/share", "/var/lib", "/tmp", "/proc/1"] {
            let _ = std::fs::remove_file(&link);
            symlink(target, &link).unwrap();
            let indirect = place.path().join("link/.");
            for path in [Path::new(target), &link, &indirect] {
                let refused = relabel(path, "a:b:c");
                assert!(
                    matches!(refused, Err(RelabelError::System { .. })),
                    "{}: {refused:?}",
                    path.display()
                );
            }
        }
        for path in ["/var/lib/kubelet/pods/x", "/home/me", "/etcetera"] {
            assert!(!is_of_the_system(Path::new(path)), "{path}");
        }
    }
}
