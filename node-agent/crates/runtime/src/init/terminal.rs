//! A terminal of the container's own devpts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use agent_sys::mount::{self, Depth};
use rustix::fs::{FileType, OFlags, fstat, fstatfs, makedev};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::Step;
use super::in_root::{InRoot, Last};
use crate::failure::Failure;

/// `f_type` of devpts.
const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

/// Both sides of a terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) master: OwnedFd,
    pub(super) slave: OwnedFd,
}

/// Opens a new terminal in the devpts at /dev/pts.
///
/// The slave is asked of the master, never opened by name: the container may have put something else there.
pub(super) fn open(root: InRoot<'_>, rows: u16, columns: u16) -> Step<Terminal> {
    let failed = |error: io::Error| Failure::io("open", "a terminal in /dev/pts", error);
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = root
        .open_plain(Path::new("/dev/pts/ptmx"), flags)
        .map_err(failed)?;
    if !is_multiplexer(master.as_fd()).map_err(failed)? {
        let reason = "/dev/pts/ptmx is not devpts's";
        return Err(Failure::invalid("open", "a terminal", reason));
    }
    unlockpt(&master).map_err(|error| failed(error.into()))?;
    let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, peer).map_err(|error| failed(error.into()))?;
    if rows != 0 && columns != 0 {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).map_err(|error| failed(error.into()))?;
    }
    Ok(Terminal { master, slave })
}

fn is_multiplexer(file: BorrowedFd<'_>) -> io::Result<bool> {
    let status = fstat(file)?;
    let kind = u64::try_from(fstatfs(file)?.f_type).unwrap_or(0);
    Ok(
        FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
            && status.st_rdev == makedev(5, 2)
            && kind == DEVPTS_SUPER_MAGIC,
    )
}

/// Makes the terminal the container's /dev/console.
pub(super) fn attach_console(root: InRoot<'_>, slave: BorrowedFd<'_>) -> Step<()> {
    let failed = |error: io::Error| Failure::io("attach", "/dev/console", error);
    let console = root
        .ensure(Path::new("/dev/console"), Last::File)
        .map_err(failed)?;
    let copy = mount::copy_of(slave, Depth::One).map_err(failed)?;
    mount::attach(copy.as_fd(), console.as_fd()).map_err(failed)
}

/// Makes the terminal at standard input the calling session's own.
pub(super) fn control() -> Step<()> {
    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())
        .map_err(|error| Failure::io("take control of", "the terminal", error))
}
