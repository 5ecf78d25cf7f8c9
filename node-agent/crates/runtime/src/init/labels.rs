//! SELinux labels of a container's file systems.

use std::os::fd::BorrowedFd;

use agent_sys::mount::FilesystemOption;
use rustix::fs::{Mode, OFlags, XattrFlags, fgetxattr, fsetxattr};
use rustix::io::Errno;

/// The option that gives all files of a file system one label.
pub(super) const CONTEXT: &str = "context";

/// Message queues: the file system is made with the IPC namespace and not as it is mounted, so that
/// it takes no option; its root can be labelled.
pub(super) const MQUEUE: &str = "mqueue";

/// Where the kernel keeps a file's label.
const ATTRIBUTE: &str = "security.selinux";

/// File systems whose files have one label.
const ONE_FOR_ALL: [&str; 2] = ["tmpfs", "devpts"];

/// Returns the option for a label, if there is one.
pub(crate) fn option(label: Option<&str>) -> Option<FilesystemOption<'_>> {
    label.map(|label| FilesystemOption::Value(CONTEXT, label))
}

/// Returns the option for a label, if there is one and the file system takes it.
pub(super) fn option_for<'a>(kind: &str, label: Option<&'a str>) -> Option<FilesystemOption<'a>> {
    option(label.filter(|_| ONE_FOR_ALL.contains(&kind)))
}

/// Gives the root directory of a file system a label; one that has it already is left alone.
pub(super) fn on_root(mount: BorrowedFd<'_>, label: &str) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(mount, ".", flags, Mode::empty())?;
    let mut now = [0_u8; 4096];
    let length = fgetxattr(&root, ATTRIBUTE, &mut now).unwrap_or(0);
    let now = now.get(..length).unwrap_or_default();
    if now.strip_suffix(b"\0").unwrap_or(now) == label.as_bytes() {
        return Ok(());
    }
    match fsetxattr(&root, ATTRIBUTE, label.as_bytes(), XattrFlags::empty()) {
        // The policy says that its files have none of their own.
        Ok(()) | Err(Errno::NOTSUP) => Ok(()),
        Err(error) => Err(error),
    }
}
