//! Network namespaces: opening them, working inside one, and sockets that live in one.
//!
//! A thread that enters a network namespace is thrown away afterwards, so that no thread of a
//! pool is ever left in the wrong one. A socket stays in the namespace it was opened in, which
//! is why most work needs a socket from inside and no thread at all.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

/// Type of the file system that namespaces are files of.
const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;

/// Opens the network namespace that `path` names, such as a pinned one.
///
/// # Errors
/// When the path cannot be opened for reading.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(File::open(path)?.into())
}

/// Opens the network namespace of the calling thread.
///
/// # Errors
/// When procfs is not mounted or no descriptor is left.
pub fn current() -> io::Result<OwnedFd> {
    open(Path::new("/proc/thread-self/ns/net"))
}

/// Makes a new network namespace, kept alive by the descriptor alone.
///
/// # Errors
/// When the kernel refuses the namespace or no thread can be started.
pub fn create() -> io::Result<OwnedFd> {
    on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        current()
    })
}

/// Keeps `netns` alive and gives it a name: mounts it on a file at `path`, which is made where it is missing.
///
/// What was pinned at `path` before is let go first.
///
/// # Errors
/// When the file cannot be made, or without `CAP_SYS_ADMIN`.
pub fn pin(netns: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    unpin(path)?;
    File::create(path)?;
    let source = format!("/proc/thread-self/fd/{}", netns.as_raw_fd());
    if let Err(errno) = rustix::mount::mount_bind(source, path) {
        // Nothing is mounted there: an empty file would pass for a namespace that is gone.
        let _ = std::fs::remove_file(path);
        return Err(errno.into());
    }
    // A container that is given the host's tree would else keep a copy, and the namespace with it.
    Ok(mount_change(path, MountPropagationFlags::UNBINDABLE)?)
}

/// Takes the name away that [`pin`] gave; one that is not there is no error.
///
/// # Errors
/// When the mount or the file cannot be removed.
pub fn unpin(path: &Path) -> io::Result<()> {
    loop {
        match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Somebody may have mounted another one on top.
            Ok(()) => {}
            // Not a mount point: what is left of a machine that was booted since.
            Err(Errno::INVAL) => break,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Says whether a network namespace is pinned at `path`.
#[must_use]
pub fn is_pinned(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == NSFS_MAGIC)
}

/// Runs `work` on a throw-away thread inside `netns` and returns what it returned.
///
/// # Errors
/// When the namespace cannot be entered, or with what `work` answered.
pub fn run_in<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    on_thread(|| {
        setns(netns, CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

/// Opens an rtnetlink socket inside `netns`.
///
/// # Errors
/// When the namespace cannot be entered or the socket cannot be made.
pub fn route_socket_in(netns: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    run_in(netns, || {
        Ok(rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE is protocol 0, which the type spells as none.
            None,
        )?)
    })
}

fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
    })
}

/// Lets a netlink socket see messages of one type and family only, decided in the kernel.
///
/// A subscriber to link changes would otherwise be woken several times for every pod that
/// starts. `family` is compared with the first byte after the header.
///
/// # Errors
/// When the kernel refuses the filter.
#[expect(
    unsafe_code,
    reason = "setsockopt(SO_ATTACH_FILTER) has no safe wrapper"
)]
pub fn keep_only(socket: BorrowedFd<'_>, message_type: u16, family: u8) -> io::Result<()> {
    // The machine loads words in network byte order; the header is in the host's.
    let wanted = u32::from(message_type.to_be());
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt,
        jf,
        k,
    };
    let mut program = [
        step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 4),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 3, wanted),
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 16),
        step(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            u32::from(family),
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or_default(),
        filter: program.as_mut_ptr(),
    };
    let length = libc::socklen_t::try_from(size_of_val(&filter)).unwrap_or_default();
    // SAFETY: `filter` and the program it points to outlive the call, which copies both, and
    // `length` is the size of the structure the option is documented to take.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            length,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Throws away whatever waits in a socket's receive buffer.
///
/// # Errors
/// When the socket fails for another reason than being empty.
pub fn drain(socket: impl AsFd) -> io::Result<()> {
    let mut scratch = [0_u8; 4096];
    loop {
        match rustix::net::recv(&socket, &mut scratch[..], RecvFlags::DONTWAIT) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Asks the kernel to explain refusals on a netlink socket, and not to repeat the refused message.
///
/// # Errors
/// When the kernel is older than such explanations.
pub fn ask_for_explanations(socket: BorrowedFd<'_>) -> io::Result<()> {
    const NETLINK_CAP_ACK: libc::c_int = 10;
    const NETLINK_EXT_ACK: libc::c_int = 11;
    netlink_option(socket, NETLINK_EXT_ACK)?;
    netlink_option(socket, NETLINK_CAP_ACK)
}

#[expect(unsafe_code, reason = "netlink's socket options have no safe wrapper")]
fn netlink_option(socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<()> {
    const SOL_NETLINK: libc::c_int = 270;
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or_default();
    // SAFETY: `on` outlives the call and `length` is its size.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            SOL_NETLINK,
            option,
            (&raw const on).cast(),
            length,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
