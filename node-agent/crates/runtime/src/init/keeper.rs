//! The keeper: makes the mounts that another runtime builds a container from, and runs it there.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, IntoRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use agent_sys::mount::{self, Change, Depth};
use agent_sys::process::{keep_stdio_and, leave};
use agent_types::user::User;
use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};

use super::Step;
use super::create::begin;
use super::in_root::{InRoot, type_of};
use super::{images, lookup, mounts, own_volumes, root};
use crate::channel::ChildEnd;
use crate::external::{
    Console, ExternalRequest, Invocation, Places, Streams, pidfd_of, read_pid, rewrite,
};
use crate::failure::Failure;
use crate::request::{CgroupAttach, CreateRequest, PidMode, ResolvedUser, Stdio};
use crate::shared_mount::Copies;
use crate::times::Times;

/// Where systemd keeps a second cgroup tree beside those of version 1, without controllers.
const HYBRID: &str = "/sys/fs/cgroup/unified";

/// `f_type` of cgroup version 2.
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// What has become of a container.
struct Kept {
    user: User,
    mounts: OwnedFd,
    made: Result<Made, Failure>,
}

/// A container that the runtime has created.
struct Made {
    pid: i32,
    pidfd: OwnedFd,
    terminal: Option<OwnedFd>,
}

/// Runs the keeper to its end.
pub(crate) fn run(
    request: CreateRequest<'_>,
    how: ExternalRequest<'_>,
    place: &OwnedFd,
    copies: Copies,
    end: ChildEnd,
) -> ! {
    match keep(request, how, place, copies) {
        Ok(kept) => report(kept, how, end),
        Err(failure) => fail(&end, &failure),
    }
}

fn fail(end: &ChildEnd, failure: &Failure) -> ! {
    end.failed(failure);
    leave(failure.kind().exit_code())
}

fn report(kept: Kept, how: ExternalRequest<'_>, end: ChildEnd) -> ! {
    let Kept { user, mounts, made } = kept;
    let user = ResolvedUser {
        uid: user.uid,
        gid: user.gid,
        groups: user.groups,
    };
    match made {
        Ok(made) => {
            let mut fds = vec![mounts.as_fd(), made.pidfd.as_fd()];
            fds.extend(made.terminal.iter().map(AsFd::as_fd));
            if end.ready(&user, Times::default(), made.pid, &fds).is_err() {
                // The shim is gone, and its agent may have removed the container's cgroup before
                // the runtime made it: nobody would ever find the container.
                discard(how);
            }
            leave(0)
        }
        Err(failure) => {
            let sent = end.ready(&user, Times::default(), 0, &[mounts.as_fd()]);
            // From here on it has nothing of the shim's.
            let Ok([end]) = keep_stdio_and([end.into()]) else {
                leave(1)
            };
            let end = ChildEnd::from(end);
            if sent.is_err() || !end.wait_for_release() {
                leave(1);
            }
            fail(&end, &failure)
        }
    }
}

fn keep(
    request: CreateRequest<'_>,
    how: ExternalRequest<'_>,
    place: &OwnedFd,
    copies: Copies,
) -> Step<Kept> {
    begin()?;
    let mut spec: Spec = serde_json::from_slice(request.spec).map_err(|error| {
        Failure::invalid("read", "the container's specification", "").because(error.to_string())
    })?;
    // What is relative to the shim's mounts comes first.
    let entries = spec.mounts().clone().unwrap_or_default();
    copy_host(how.mounts, &request.cgroup)?;
    let rootfs = place_root(&request, how.bundle, &entries)?;
    let read_only = spec.root().as_ref().and_then(|root| root.readonly()) == Some(true);
    own_volumes::make(InRoot(rootfs.as_fd()), request.own_volumes, read_only)?;
    let mut places = place_volumes(&request, how.bundle, copies)?;
    places.root = how.bundle.join("rootfs");
    let Some(process) = spec.process().clone() else {
        return Err(Failure::invalid(
            "run",
            "the container",
            "its specification has no process",
        ));
    };
    let user = lookup::user(rootfs.as_fd(), &request.user, process.user())?;
    rewrite(&mut spec, &places, &user)?;
    write(&how.bundle.join("config.json"), &spec)?;
    let mounts = own_mounts()?;
    let hidden: Vec<PathBuf> = mounts::destinations(&entries);
    let made =
        create(request.stdio, how, place).or_else(|failure| {
            match lookup::missing_program(rootfs.as_fd(), &process, &hidden) {
                Some(missing) => Ok(Err(missing)),
                None => Err(failure),
            }
        })?;
    Ok(Kept { user, mounts, made })
}

/// Runs the runtime.
fn create(stdio: Stdio, how: ExternalRequest<'_>, place: &OwnedFd) -> Step<Result<Made, Failure>> {
    let (streams, console) = match stdio {
        Stdio::Pipes {
            stdin,
            stdout,
            stderr,
        } => (Streams::Pipes(stdin, stdout, stderr), None),
        Stdio::Terminal { .. } => (Streams::None, Some(Console::listen(place, "tty")?)),
    };
    let bundle = how.bundle.display().to_string();
    let pid_file = how.bundle.join("pid");
    let pid_path = pid_file.display().to_string();
    let mut options = vec!["--bundle", &bundle, "--pid-file", &pid_path];
    if let Some(console) = &console {
        options.extend(["--console-socket", console.path()]);
    }
    let invocation = Invocation {
        program: how.program,
        bundle: how.bundle,
        mounts: None,
        verb: "create",
        options: &options,
        id: how.id,
        patience: how.patience,
    };
    let created = invocation.run(streams);
    let made = || {
        created?;
        let pid = read_pid(&pid_file)?;
        let pidfd = pidfd_of(pid)?;
        let terminal = console.as_ref().map(Console::accept).transpose()?;
        Ok(Made {
            pid,
            pidfd,
            terminal,
        })
    };
    made().map(Ok).inspect_err(|_| discard(how))
}

/// Has the runtime remove whatever it has made.
fn discard(how: ExternalRequest<'_>) {
    let invocation = Invocation {
        program: how.program,
        bundle: how.bundle,
        mounts: None,
        verb: "delete",
        options: &["--force"],
        id: how.id,
        patience: how.patience,
    };
    let _ = invocation.run(Streams::None);
}

/// Enters a copy of the host's mounts. What the host mounts later is seen; what is mounted here is
/// seen by nobody else.
fn copy_host(host: BorrowedFd<'_>, cgroup: &CgroupAttach<'_>) -> Step<()> {
    root::enter_copy(host)?;
    let top = open(Path::new("/"))?;
    let slave = Change::propagation(MountPropagationFlags::DOWNSTREAM);
    mount::change(top.as_fd(), &slave, Depth::Tree)
        .map_err(|error| Failure::io("cut off", "the host's mounts", error))?;
    let is_hybrid = rustix::fs::statfs(HYBRID).is_ok_and(|fs| fs.f_type == CGROUP2_SUPER_MAGIC);
    if is_hybrid && matches!(cgroup, CgroupAttach::V1(_)) {
        // Some runtimes take its presence for a version 2 that they do not find whole.
        rustix::mount::unmount(HYBRID, UnmountFlags::DETACH)
            .map_err(|error| Failure::io("hide", HYBRID, error))?;
    }
    Ok(())
}

/// Mounts the root file system in the bundle and returns it.
fn place_root(request: &CreateRequest<'_>, bundle: &Path, entries: &[Mount]) -> Step<OwnedFd> {
    let joined = root::joined(&request.root, &mounts::destinations(entries))?;
    let target = directory(&bundle.join("rootfs"))?;
    attach(joined.as_fd(), &target, "the root file system")?;
    Ok(joined)
}

/// Mounts volumes and /dev/shm in the bundle, and says where things are.
fn place_volumes(request: &CreateRequest<'_>, bundle: &Path, copies: Copies) -> Step<Places> {
    let images = images::mount(&request.root, request.images)?;
    let mut places = Places {
        own_pid: matches!(request.namespaces.pid, PidMode::New),
        joined: joined_namespaces(request)?,
        terminal: match request.stdio {
            Stdio::Terminal { rows, columns } => Some((rows, columns)),
            Stdio::Pipes { .. } => None,
        },
        ..Places::default()
    };
    if let Some(shm) = copies.shm {
        let path = bundle.join("shm");
        attach(shm.as_fd(), &directory(&path)?, "/dev/shm")?;
        places.shm = Some(path);
    }
    for (number, volume) in request.mounts.iter().enumerate() {
        let path = bundle.join(format!("volume-{number}"));
        let target = place(&path, volume.mount, volume.destination)?;
        attach(volume.mount, &target, volume.destination)?;
        places.volumes.push((volume.destination.to_owned(), path));
    }
    for (number, (destination, mount)) in images.into_iter().enumerate() {
        let path = bundle.join(format!("image-{number}"));
        let destination = destination.display().to_string();
        let target = place(&path, mount.as_fd(), &destination)?;
        attach(mount.as_fd(), &target, &destination)?;
        places.volumes.push((destination, path));
    }
    Ok(places)
}

/// Makes a place for a mount: a directory or a file, as its root is one.
fn place(path: &Path, mount: BorrowedFd<'_>, shown: &str) -> Step<OwnedFd> {
    let kind = type_of(mount).map_err(|error| Failure::io("mount", shown, error))?;
    match kind {
        FileType::Directory => directory(path),
        _ => file(path),
    }
}

/// Returns the paths of the sandbox's namespaces, as descriptors of the shim, our parent.
fn joined_namespaces(request: &CreateRequest<'_>) -> Step<Vec<(LinuxNamespaceType, PathBuf)>> {
    let shim = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    let of = &request.namespaces;
    let kinds = [
        (LinuxNamespaceType::Network, of.network),
        (LinuxNamespaceType::Ipc, of.ipc),
        (LinuxNamespaceType::Uts, of.uts),
    ];
    let path = |fd: BorrowedFd<'_>| PathBuf::from(format!("/proc/{shim}/fd/{}", fd.as_raw_fd()));
    let mut joined: Vec<_> = kinds
        .into_iter()
        .filter_map(|(kind, fd)| Some((kind, path(fd?))))
        .collect();
    let pid = match of.pid {
        PidMode::Join(reaper) => Some(format!("/proc/{}/ns/pid", reaper.pid)),
        PidMode::Target(pidfd) => Some(pid_namespace_of(pidfd)?),
        PidMode::New | PidMode::Host => None,
    };
    joined.extend(pid.map(|path| (LinuxNamespaceType::Pid, path.into())));
    Ok(joined)
}

/// Returns the path of a process's PID namespace, as a descriptor of ours that stays open: the
/// process may end, and its id be another's, before the runtime looks.
fn pid_namespace_of(pidfd: BorrowedFd<'_>) -> Step<String> {
    let path = format!("/proc/{}/ns/pid", pid_behind(pidfd)?);
    let failed = |error| Failure::io("open", &path, error);
    let namespace = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let namespace = namespace.map_err(failed)?;
    // Still the same process, so it was its namespace that was opened.
    pid_behind(pidfd)?;
    let us = rustix::process::getpid().as_raw_nonzero();
    Ok(format!("/proc/{us}/fd/{}", namespace.into_raw_fd()))
}

/// Returns the id of the process behind a pidfd.
fn pid_behind(pidfd: BorrowedFd<'_>) -> Step<i32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, error))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    let pid: Option<i32> = pid.and_then(|pid| pid.trim().parse().ok());
    pid.filter(|pid| *pid > 0)
        .ok_or_else(|| Failure::invalid("join", "a container", "its process has ended"))
}

fn own_mounts() -> Step<OwnedFd> {
    let path = "/proc/self/ns/mnt";
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| Failure::io("open", path, error))
}

fn attach(mount: BorrowedFd<'_>, target: &OwnedFd, what: &str) -> Step<()> {
    mount::attach(mount, target.as_fd()).map_err(|error| Failure::io("mount", what, error))
}

fn directory(path: &Path) -> Step<OwnedFd> {
    std::fs::create_dir(path)
        .map_err(|error| Failure::io("make", path.display().to_string(), error))?;
    open(path)
}

fn file(path: &Path) -> Step<OwnedFd> {
    std::fs::File::create_new(path)
        .map_err(|error| Failure::io("make", path.display().to_string(), error))?;
    open(path)
}

fn open(path: &Path) -> Step<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| Failure::io("open", path.display().to_string(), error))
}

fn write(path: &Path, spec: &Spec) -> Step<()> {
    let failed = |error| Failure::io("write", path.display().to_string(), error);
    let bytes = serde_json::to_vec(spec).map_err(|error| failed(error.into()))?;
    std::fs::write(path, bytes).map_err(failed)
}
