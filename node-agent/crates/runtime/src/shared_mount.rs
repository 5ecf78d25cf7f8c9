//! Mounts that the containers of a sandbox share: made once, copied into each.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use agent_sys::mount::{self, Change, Depth, FilesystemOption, new_filesystem};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use crate::error::SharedMountError;
use crate::init::labels;
use crate::request::{CreateRequest, PidMode};

/// A mount that can be copied into containers.
#[derive(Debug)]
pub struct SharedMount {
    mount: OwnedFd,
    /// A copy that nobody has taken yet: throwing one away waits for every processor.
    ready: RefCell<Option<OwnedFd>>,
}

impl SharedMount {
    /// Makes the /dev/shm of a sandbox, `size` bytes large, with the user and group that are root in
    /// it, and the SELinux label of its containers' files.
    ///
    /// Kernels before 6.15 copy only what is attached somewhere. There the calling process gets a mount namespace of its own, and the
    /// mount is attached over that namespace's root, where no path leads to it.
    ///
    /// # Errors
    /// Fails when the file system cannot be made or attached.
    pub fn shm(
        size: u64,
        owner: (u32, u32),
        label: Option<&str>,
    ) -> Result<Self, SharedMountError> {
        let (size, uid, gid) = (size.to_string(), owner.0.to_string(), owner.1.to_string());
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mut options = vec![
            FilesystemOption::Value("source", "shm"),
            FilesystemOption::Value("mode", "1777"),
            FilesystemOption::Value("size", &size),
        ];
        if owner != (0, 0) {
            options.push(FilesystemOption::Value("uid", &uid));
            options.push(FilesystemOption::Value("gid", &gid));
        }
        options.extend(labels::option(label));
        let made =
            new_filesystem("tmpfs", options, attributes).map_err(SharedMountError::Filesystem)?;
        Self::keep(made)
    }

    /// Keeps a detached mount so that it can be copied.
    pub(crate) fn keep(mount: OwnedFd) -> Result<Self, SharedMountError> {
        let ready = match mount::copy_of(mount.as_fd(), Depth::One) {
            Ok(copy) => Some(copy),
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                attach_out_of_sight(&mount).map_err(SharedMountError::Attach)?;
                None
            }
            Err(error) => return Err(SharedMountError::Copy(error)),
        };
        Ok(Self {
            mount,
            ready: RefCell::new(ready),
        })
    }

    fn copy(&self) -> io::Result<OwnedFd> {
        match self.ready.take() {
            Some(ready) => Ok(ready),
            None => mount::copy_of(self.mount.as_fd(), Depth::One),
        }
    }
}

/// The process that has a mount namespace of its own because of us; 0: none yet. A second namespace would part it from the
/// mounts attached in the first.
static SEPARATE: AtomicI32 = AtomicI32::new(0);

/// Attaches a mount where only the calling process sees it, and no path leads.
fn attach_out_of_sight(mount: &OwnedFd) -> io::Result<()> {
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own_id = rustix::process::getpid().as_raw_nonzero().get();
    if SEPARATE.load(Ordering::Relaxed) != own_id {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
        let root = rustix::fs::open("/", path, Mode::empty())?;
        let private = Change::propagation(MountPropagationFlags::PRIVATE);
        mount::change(root.as_fd(), &private, Depth::Tree)?;
        SEPARATE.store(own_id, Ordering::Relaxed);
    }
    let root = rustix::fs::open("/", path, Mode::empty())?;
    mount::attach(mount.as_fd(), root.as_fd())
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
                // Another container's is copied by the child, out of that container's mount namespace.
                PidMode::New | PidMode::Host | PidMode::Target(_) => None,
            },
        })
    }
}
