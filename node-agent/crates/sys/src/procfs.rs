//! A procfs that is mounted nowhere: nothing a container does to its own /proc can redirect what is written through it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::MountAttrFlags;

use crate::mount::{FilesystemError, new_filesystem};

/// Most that is read of one file below /proc.
const READ_CAP: usize = 1 << 20;

/// A private mount of procfs, of the PID namespace that its maker lives in.
#[derive(Debug)]
pub struct Procfs(OwnedFd);

impl Procfs {
    /// Mounts a procfs that is attached nowhere.
    ///
    /// # Errors
    /// Fails without `CAP_SYS_ADMIN`.
    pub fn detached() -> Result<Self, FilesystemError> {
        new_filesystem(
            "proc",
            [],
            MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOEXEC,
        )
        .map(Self)
    }

    /// Opens a file below the root, following no link and crossing no mount.
    ///
    /// # Errors
    /// Fails when the file does not exist or a part of its path is a link or a mount.
    pub fn open(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        // `self` is a link to the caller's own directory, and as such cannot be followed below. It is
        // asked for: the caller may live in another PID namespace than this procfs shows.
        let own;
        let path = match path.strip_prefix("self/") {
            Some(rest) => {
                let pid = rustix::fs::readlinkat(&self.0, "self", Vec::new())?;
                own = format!("{}/{rest}", pid.to_string_lossy());
                own.as_str()
            }
            None => path,
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(openat2(&self.0, path, flags, Mode::empty(), resolve)?)
    }

    /// Writes `value` in one call.
    ///
    /// # Errors
    /// Fails when the file does not exist or the kernel refuses the value.
    pub fn write(&self, path: &str, value: &[u8]) -> io::Result<()> {
        let file = self.open(path, OFlags::WRONLY)?;
        let written = rustix::io::write(&file, value)?;
        if written == value.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Reads a whole file, of which more than 1 MiB is cut off.
    ///
    /// # Errors
    /// Fails when the file cannot be opened or read.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let file = self.open(path, OFlags::RDONLY)?;
        let mut bytes = Vec::new();
        let mut buffer = [0_u8; 4096];
        while bytes.len() < READ_CAP {
            let length = rustix::io::read(&file, &mut buffer)?;
            if length == 0 {
                break;
            }
            bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
        }
        Ok(bytes)
    }
}

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
