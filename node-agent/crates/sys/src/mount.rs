//! Mounts as file descriptors: made, copied and changed before anybody can see them.
//!
//! Owns: the mount system calls of Linux 5.2 and 5.12, and errors that name the step that failed.
//! Does not: resolve paths of a container; every target is a descriptor that the caller has already found.

#![expect(unsafe_code, reason = "mount_setattr has no safe wrapper")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    move_mount, open_tree,
};

/// Why a file system could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum FilesystemError {
    /// The kernel does not have it, or the caller may not use it.
    #[error("file system type {kind} could not be opened")]
    Open {
        /// Its type.
        kind: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// An option was refused.
    #[error("option {option} of file system {kind} was refused{log}")]
    Option {
        /// Its type.
        kind: String,
        /// Name and value.
        option: String,
        /// What the kernel logged about it, after a colon; empty if nothing.
        log: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file system could not be brought up with its options.
    #[error("file system {kind} could not be created{log}")]
    Create {
        /// Its type.
        kind: String,
        /// What the kernel logged about it, after a colon; empty if nothing.
        log: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file system stands, but no mount of it could be made.
    #[error("file system {kind} could not be mounted")]
    Mount {
        /// Its type.
        kind: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl FilesystemError {
    /// Returns what the kernel said.
    #[must_use]
    pub fn io(&self) -> &io::Error {
        let (Self::Open { source, .. }
        | Self::Option { source, .. }
        | Self::Create { source, .. }
        | Self::Mount { source, .. }) = self;
        source
    }
}

/// One option of a file system: `key` or `key=value`.
#[derive(Debug, Clone, Copy)]
pub enum FilesystemOption<'a> {
    /// A word of its own.
    Flag(&'a str),
    /// A key and its value.
    Value(&'a str, &'a str),
}

/// Makes a new file system and returns a mount of it that is attached nowhere.
///
/// Names inside option values are relative to the current directory.
///
/// # Errors
/// Names the step that failed, with the kernel's own words where it left any.
pub fn new_filesystem<'a>(
    kind: &str,
    options: impl IntoIterator<Item = FilesystemOption<'a>>,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, FilesystemError> {
    let context =
        fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|source| FilesystemError::Open {
            kind: kind.to_owned(),
            source: source.into(),
        })?;
    for option in options {
        let (result, shown) = match option {
            FilesystemOption::Flag(key) => (fsconfig_set_flag(&context, key), (key, "")),
            FilesystemOption::Value(key, value) => {
                (fsconfig_set_string(&context, key, value), (key, value))
            }
        };
        result.map_err(|source| FilesystemError::Option {
            kind: kind.to_owned(),
            option: format!("{}={}", shown.0, shown.1),
            log: kernel_log(&context),
            source: source.into(),
        })?;
    }
    fsconfig_create(&context).map_err(|source| FilesystemError::Create {
        kind: kind.to_owned(),
        log: kernel_log(&context),
        source: source.into(),
    })?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(|source| {
        FilesystemError::Mount {
            kind: kind.to_owned(),
            source: source.into(),
        }
    })
}

/// Reads the last message that the kernel left in a file system context, `: message` or nothing.
fn kernel_log(context: &OwnedFd) -> String {
    let mut text = String::new();
    let mut buffer = [0_u8; 512];
    while let Ok(length) = rustix::io::read(context, &mut buffer) {
        let line = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        // A line starts with its level: `e overlay: ...`.
        text = format!(": {}", line.get(2..).unwrap_or_default().trim_end());
        if length == 0 {
            break;
        }
    }
    text
}

/// Attaches a detached mount on the file or directory that `target` refers to.
///
/// # Errors
/// Fails when one is a directory and the other is not, or without `CAP_SYS_ADMIN`.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", target, "", flags)?)
}

/// Whether mounts below the one named are meant too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Only the one.
    One,
    /// The whole tree.
    Tree,
}

/// Returns a detached copy of what is mounted where `file` lies, rooted at `file`.
///
/// # Errors
/// Fails when `file` is not in the caller's mount namespace (before Linux 6.15 also when it is detached).
pub fn copy_of(file: BorrowedFd<'_>, depth: Depth) -> io::Result<OwnedFd> {
    Ok(open_tree(
        file,
        "",
        clone_flags(depth) | OpenTreeFlags::AT_EMPTY_PATH,
    )?)
}

/// Returns a detached copy of what is mounted at `path`, rooted there.
///
/// # Errors
/// Fails when the path does not exist.
pub fn copy_of_path(path: &Path, depth: Depth) -> io::Result<OwnedFd> {
    Ok(open_tree(rustix::fs::CWD, path, clone_flags(depth))?)
}

fn clone_flags(depth: Depth) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match depth {
        Depth::One => flags,
        Depth::Tree => flags | OpenTreeFlags::AT_RECURSIVE,
    }
}

/// `struct mount_attr`.
#[repr(C)]
#[derive(Default)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// A change to mounts: attributes to set and to clear, and a propagation type.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// Attributes to set.
    pub set: MountAttrFlags,
    /// Attributes to clear.
    pub clear: MountAttrFlags,
    /// A propagation type, or nothing.
    pub propagation: MountPropagationFlags,
}

impl Change {
    /// Returns the change that does nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            set: MountAttrFlags::empty(),
            clear: MountAttrFlags::empty(),
            propagation: MountPropagationFlags::empty(),
        }
    }

    /// Returns the change that sets `attributes`.
    #[must_use]
    pub const fn set(attributes: MountAttrFlags) -> Self {
        Self {
            set: attributes,
            ..Self::none()
        }
    }

    /// Returns the change to one propagation type.
    #[must_use]
    pub const fn propagation(propagation: MountPropagationFlags) -> Self {
        Self {
            propagation,
            ..Self::none()
        }
    }

    /// Returns whether nothing would change.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.set.is_empty() && self.clear.is_empty() && self.propagation.is_empty()
    }
}

/// Changes the mount that `mount` is the root of; attributes not named stay.
///
/// # Errors
/// Fails when `mount` is not the root of a mount, or a locked attribute would be cleared.
pub fn change(mount: BorrowedFd<'_>, change: &Change, depth: Depth) -> io::Result<()> {
    let atime = MountAttrFlags::MOUNT_ATTR__ATIME;
    let mut clear = change.clear;
    // The kernel wants the whole access-time field named when a value of it is set; "relatime" is its zero value.
    if change.set.intersects(atime) {
        clear |= atime;
    }
    let attributes = MountAttributes {
        set: change.set.bits().into(),
        clear: clear.bits().into(),
        propagation: change.propagation.bits().into(),
        userns_fd: 0,
    };
    set_attributes(mount, &attributes, depth)
}

/// Shows the owners of a detached mount's files as `user_namespace` maps them: its id 0 becomes whatever the namespace's root is
/// outside.
///
/// # Errors
/// Fails when the mount was attached before or is shifted already, and with `EINVAL` for file systems that cannot do it.
pub fn shift_owners(
    mount: BorrowedFd<'_>,
    user_namespace: BorrowedFd<'_>,
    depth: Depth,
) -> io::Result<()> {
    let attributes = MountAttributes {
        set: libc::MOUNT_ATTR_IDMAP,
        userns_fd: u64::from(user_namespace.as_raw_fd().cast_unsigned()),
        ..MountAttributes::default()
    };
    set_attributes(mount, &attributes, depth)
}

fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: &MountAttributes,
    depth: Depth,
) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH
        | match depth {
            Depth::One => 0,
            Depth::Tree => AT_RECURSIVE,
        };
    // SAFETY: `attributes` is a valid `mount_attr` of the size given, and the path is an empty C string.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

const AT_RECURSIVE: libc::c_int = 0x8000;
