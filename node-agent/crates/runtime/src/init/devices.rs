//! What every container finds in /dev, and the devices its specification adds.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{AtFlags, Dev, FileType, Gid, Mode, Uid, makedev};
use rustix::io::Errno;

use super::Step;
use super::in_root::{InRoot, Last};
use crate::failure::Failure;
use crate::user_namespace::UserNamespace;

/// Name, major and minor number of the devices that every container has.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// One device node to make.
struct Node {
    kind: FileType,
    device: Dev,
    mode: Mode,
    owner: (u32, u32),
}

/// Makes the nodes and links of a fresh /dev.
pub(super) fn make_default(root: InRoot<'_>) -> Step<()> {
    let dev = root
        .ensure(Path::new("/dev"), Last::Directory)
        .map_err(|error| Failure::io("open", "/dev", error))?;
    make_default_in(dev.as_fd(), None)
}

/// Makes the nodes and links of a fresh /dev that is given as a directory; they belong to the root of `user`, if there is one.
pub(super) fn make_default_in(dev: BorrowedFd<'_>, user: Option<&UserNamespace<'_>>) -> Step<()> {
    let owner = user.map_or((0, 0), |user| user.outside_of((0, 0)));
    for (name, major, minor) in DEFAULT {
        let node = Node {
            kind: FileType::CharacterDevice,
            device: makedev(major, minor),
            mode: Mode::from_raw_mode(0o666),
            owner,
        };
        make_node(dev, OsStr::new(name), &node)
            .map_err(|error| Failure::io("make device", format!("/dev/{name}"), error))?;
    }
    for (name, target) in LINKS {
        match rustix::fs::symlinkat(target, dev, name) {
            Ok(()) if owner == (0, 0) => {}
            Ok(()) => give(dev, OsStr::new(name), owner)
                .map_err(|error| Failure::io("give away", format!("/dev/{name}"), error))?,
            Err(Errno::EXIST) => {}
            Err(error) => {
                return Err(Failure::io("make link", format!("/dev/{name}"), error));
            }
        }
    }
    Ok(())
}

/// Makes the devices that a specification names.
pub(super) fn make_listed(root: InRoot<'_>, devices: &[LinuxDevice]) -> Step<()> {
    let one = |device: &LinuxDevice| make_one(root, device, device.path());
    devices.iter().try_for_each(one)
}

/// Makes a device at a path below `root`.
pub(super) fn make_one(root: InRoot<'_>, device: &LinuxDevice, path: &Path) -> Step<()> {
    let shown = || path.display().to_string();
    let failed = |error| Failure::io("make device", shown(), error);
    let refused = |reason| Failure::invalid("make device", shown(), reason);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(refused("its path has no name"));
    };
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => return Err(refused("its type is for device rules only")),
    };
    let number =
        |value: i64| u32::try_from(value).map_err(|_| refused("its number is out of range"));
    let node = Node {
        kind,
        device: makedev(number(device.major())?, number(device.minor())?),
        mode: Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o7777),
        owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
    };
    let parent = root.ensure(parent, Last::Directory).map_err(failed)?;
    make_node(parent.as_fd(), name, &node).map_err(|error| match error {
        Errno::EXIST => refused("another file has its name"),
        error => failed(error.into()),
    })
}

/// Makes a node; an equal one that is there already is as good.
fn make_node(directory: BorrowedFd<'_>, name: &OsStr, node: &Node) -> Result<(), Errno> {
    match rustix::fs::mknodat(directory, name, node.kind, node.mode, node.device) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let same = FileType::from_raw_mode(found.st_mode) == node.kind
                && (node.kind == FileType::Fifo || found.st_rdev == node.device);
            return if same { Ok(()) } else { Err(Errno::EXIST) };
        }
        Err(error) => return Err(error),
    }
    if node.owner == (0, 0) {
        return Ok(());
    }
    give(directory, name, node.owner)
}

fn give(directory: BorrowedFd<'_>, name: &OsStr, (uid, gid): (u32, u32)) -> Result<(), Errno> {
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(directory, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
}

/// Opens the container's /dev/null for use as what it says; anything else by that name is refused.
pub(super) fn open_null(root: InRoot<'_>, flags: rustix::fs::OFlags) -> Step<OwnedFd> {
    let failed = |error| Failure::io("open", "/dev/null", error);
    let null = root
        .open_plain(Path::new("/dev/null"), flags)
        .map_err(failed)?;
    if is_null(null.as_fd()).map_err(failed)? {
        return Ok(null);
    }
    Err(Failure::invalid(
        "use",
        "/dev/null",
        "it is not the null device",
    ))
}

/// Returns whether an open file is the null device.
pub(super) fn is_null(file: BorrowedFd<'_>) -> std::io::Result<bool> {
    let status = rustix::fs::fstat(file)?;
    let kind = FileType::from_raw_mode(status.st_mode);
    Ok(kind == FileType::CharacterDevice && status.st_rdev == makedev(1, 3))
}
