//! Mounts that the containers of a sandbox share: made once, copied into each.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use agent_sys::mount::{self, Change, Depth, FilesystemOption, new_filesystem};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use crate::error::SharedMountError;
use crate::request::{CreateRequest, PidMode};

/// A mount that can be copied into containers.
#[derive(Debug)]
pub struct SharedMount(OwnedFd);

impl SharedMount {
    /// Makes the /dev/shm of a sandbox, `size` bytes large.
    ///
    /// Kernels before 6.15 copy only what is attached somewhere. There the caller's mount namespace is made private to it, and
    /// the mount attached on `fallback_directory`.
    ///
    /// # Errors
    /// Fails when the file system cannot be made or attached.
    pub fn shm(size: u64, fallback_directory: &Path) -> Result<Self, SharedMountError> {
        let size = size.to_string();
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let options = [
            FilesystemOption::Value("source", "shm"),
            FilesystemOption::Value("mode", "1777"),
            FilesystemOption::Value("size", &size),
        ];
        let made =
            new_filesystem("tmpfs", options, attributes).map_err(SharedMountError::Filesystem)?;
        Self::keep(made, fallback_directory)
    }

    /// Keeps a detached mount so that it can be copied.
    pub(crate) fn keep(mount: OwnedFd, fallback: &Path) -> Result<Self, SharedMountError> {
        match mount::copy_of(mount.as_fd(), Depth::One) {
            Ok(_) => Ok(Self(mount)),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                attach(&mount, fallback).map_err(|source| SharedMountError::Attach {
                    path: fallback.display().to_string(),
                    source,
                })?;
                Ok(Self(mount))
            }
            Err(error) => Err(SharedMountError::Copy(error)),
        }
    }

    fn copy(&self) -> io::Result<OwnedFd> {
        mount::copy_of(self.0.as_fd(), Depth::One)
    }
}

/// Attaches a mount where only the calling process sees it.
fn attach(mount: &OwnedFd, directory: &Path) -> io::Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", path, Mode::empty())?;
    let private = Change::propagation(MountPropagationFlags::PRIVATE);
    mount::change(root.as_fd(), &private, Depth::Tree)?;
    let target = rustix::fs::open(directory, path, Mode::empty())?;
    mount::attach(mount.as_fd(), target.as_fd())
}

/// Copies of the shared mounts for one container. They are taken by the maker: the kernel refuses them to a process in a
/// newer mount namespace.
#[derive(Debug)]
pub(crate) struct Copies {
    pub(crate) shm: Option<OwnedFd>,
    pub(crate) proc: Option<OwnedFd>,
}

impl Copies {
    pub(crate) fn take(request: &CreateRequest<'_>) -> io::Result<Self> {
        Ok(Self {
            shm: request.shm.map(SharedMount::copy).transpose()?,
            proc: match request.namespaces.pid {
                PidMode::Join(reaper) => Some(reaper.proc().copy()?),
                PidMode::New | PidMode::Host => None,
            },
        })
    }
}
