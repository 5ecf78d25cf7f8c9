//! The sandbox's directory under the state directory: the socket and the exit files.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use prost::Message as _;
use proto_shim::ContainerExited;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Name of the socket in the directory.
pub(crate) const SOCKET: &str = "shim.sock";

/// Longest path that fits in a socket address, its end marker excepted.
const MAX_SOCKET_PATH: usize = 107;

/// An open sandbox directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> rustix::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            path: path.to_owned(),
            fd,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the socket, for root alone, and listens on it.
    pub(crate) fn listen(&self) -> rustix::io::Result<OwnedFd> {
        let path = self.path.join(SOCKET);
        let path = if path.as_os_str().as_bytes().len() <= MAX_SOCKET_PATH {
            path
        } else {
            Path::new("/proc/self/fd")
                .join(self.fd.as_raw_fd().to_string())
                .join(SOCKET)
        };
        // Left by a shim that was killed.
        self.unlink(SOCKET)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let address = SocketAddrUnix::new(path.as_path())?;
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = rustix::net::bind(&socket, &address);
        rustix::process::umask(before);
        bound?;
        rustix::net::listen(&socket, 4)?;
        Ok(socket)
    }

    /// Removes the socket: nobody is to find this shim any more.
    pub(crate) fn remove_socket(&self) {
        let _ = self.unlink(SOCKET);
    }

    /// Writes a container's exit, whole or not at all.
    pub(crate) fn write_exit(&self, report: &ContainerExited) -> io::Result<()> {
        let name = exit_file(&report.container_id);
        let temporary = format!("{name}.new");
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, &temporary, flags, Mode::from_raw_mode(0o600))?;
        let bytes = report.encode_to_vec();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match rustix::io::write(&file, rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        rustix::fs::renameat(&self.fd, &temporary, &self.fd, &name)?;
        Ok(())
    }

    /// Removes a container's exit file.
    pub(crate) fn remove_exit(&self, container_id: &str) {
        let _ = self.unlink(&exit_file(container_id));
    }

    fn unlink(&self, name: &str) -> rustix::io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            result => result,
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn exit_file(container_id: &str) -> String {
    format!("{container_id}.exit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn the_socket_is_for_root_alone_however_long_its_path() {
        let temporary = tempfile::tempdir().unwrap();
        for name in ["short".to_owned(), "x".repeat(200)] {
            let path = temporary.path().join(name);
            std::fs::create_dir(&path).unwrap();
            let directory = Directory::open(&path).unwrap();
            let _left_over = directory.listen().unwrap();
            let _socket = directory.listen().unwrap();
            let mode = std::fs::metadata(path.join(SOCKET)).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn an_exit_is_written_whole_and_over_an_older_one() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::open(temporary.path()).unwrap();
        for code in [3, 4] {
            let report = ContainerExited {
                container_id: "c1".into(),
                exit_code: code,
                ..ContainerExited::default()
            };
            directory.write_exit(&report).unwrap();
            let bytes = std::fs::read(temporary.path().join("c1.exit")).unwrap();
            assert_eq!(ContainerExited::decode(bytes.as_slice()).unwrap(), report);
        }
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1);
        directory.remove_exit("c1");
        directory.remove_exit("c1");
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}
