//! Into a user namespace: what only the caller's root can make is made before, the rest happens inside.
//!
//! The directory of all layers is copied with its owners shifted, once, and attached over itself where this process alone sees it,
//! which kernels from 5.19 on can join layers from. The writable layer is not shifted: the overlay writes there as the caller's root,
//! who is nobody in a shifted mount, and its files belong on disk to who the namespace's users are outside. The mounts, cgroup and
//! PID namespaces are made inside, so that the user namespace owns them. A process of a PID namespace of its own is forked by then:
//! whoever made a PID namespace does not live in it.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use agent_sys::mount::{self, Depth, FilesystemOption, new_filesystem};
use agent_sys::process::{Fork, Forked, Relation, fork, leave, set_credentials};
use agent_types::user::User;
use oci_spec::runtime::{Linux, Mount, Spec};
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, statx};
use rustix::mount::{MountAttrFlags, UnmountFlags};
use rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::in_root::InRoot;
use super::mount_options::MountOptions;
use super::root::{self, copy_of_error};
use super::{Step, devices, images, labels, mounts};
use crate::channel::ChildEnd;
use crate::failure::Failure;
use crate::request::{CreateRequest, PidMode, Stdio};
use crate::user_namespace::{IdMapping, UserNamespace};

/// What was made before the user namespace was entered. Nothing of it is attached yet.
#[derive(Debug)]
pub(super) struct Premade {
    pub(super) root: OwnedFd,
    /// By destination: contents of images, and bind sources whose directories the namespace's root cannot enter.
    pub(super) mounts: Vec<(PathBuf, OwnedFd)>,
    /// A /dev with its devices, where the specification wants one of its own.
    pub(super) dev: Option<OwnedFd>,
    pub(super) sysfs: Option<OwnedFd>,
}

/// Makes what the namespace's own root could not make.
pub(super) fn premake(
    spec: &Spec,
    request: &CreateRequest<'_>,
    user: &UserNamespace<'_>,
) -> Step<Premade> {
    let Some(upper) = request.root.upper else {
        let reason = "in a user namespace it needs a writable layer";
        return Err(Failure::invalid("mount", "the root file system", reason));
    };
    root::make_all_private()?;
    let writable = root::enter_base(&request.root)?;
    shift_layers(request, user)?;
    give_directory(upper, user)?;
    let root = root::join(&request.root, writable.as_ref())?;
    let entries = spec.mounts().as_deref().unwrap_or_default();
    let mut made = images::mount(&request.root, request.images)?;
    let given = |path: &Path| {
        let volumes = request.mounts.iter().map(|volume| volume.destination);
        let images = request.images.iter().map(|image| image.destination);
        volumes.chain(images).any(|taken| Path::new(taken) == path)
    };
    made.extend(mounts::copy_binds(entries, given)?);
    let dev = mounts::provides_fresh_dev(entries)
        .then(|| fresh_dev(entries, user, request.root.label))
        .transpose()?;
    let listed = spec.linux().as_ref().map(Linux::devices);
    let listed = listed
        .and_then(|devices| devices.as_deref())
        .unwrap_or_default();
    // They belong to whom they do on the host: what only its root may open, the namespace's may not.
    for device in listed {
        let below_dev = device.path().strip_prefix("/dev").ok();
        match (&dev, below_dev) {
            (Some(dev), Some(path)) => {
                let path = Path::new("/").join(path);
                devices::make_one(InRoot(dev.as_fd()), device, &path)?;
            }
            _ => devices::make_one(InRoot(root.as_fd()), device, device.path())?,
        }
    }
    give_streams(&request.stdio, user);
    if let Some(label) = request.root.label {
        label_queues(entries, label)?;
    }
    Ok(Premade {
        root,
        mounts: made,
        dev,
        sysfs: sysfs(entries)?,
    })
}

/// Attaches a copy of each directory that has layers over itself, in which every owner is what the namespace calls by the same id.
///
/// The current directory is the base of the layers.
fn shift_layers(request: &CreateRequest<'_>, user: &UserNamespace<'_>) -> Step<()> {
    let images = request.images.iter().flat_map(|image| image.lower);
    let layers = request.root.lower.iter().chain(images);
    let parents: BTreeSet<&Path> = layers.filter_map(|name| Path::new(name).parent()).collect();
    for parent in parents {
        if parent == Path::new("") {
            let reason = "they lie beside the writable one";
            return Err(Failure::invalid("shift the owners of", "layers", reason));
        }
        let failed = |error: std::io::Error| {
            Failure::io("shift the owners of", parent.display().to_string(), error)
        };
        let copy = mount::copy_of_path(parent, Depth::One).map_err(failed)?;
        mount::shift_owners(copy.as_fd(), user.fd, Depth::One).map_err(failed)?;
        root::attach_on_base(copy.as_fd(), parent)?;
    }
    Ok(())
}

/// Gives a new directory to the user of the namespace who has its owner's id.
fn give_directory(path: &Path, user: &UserNamespace<'_>) -> Step<()> {
    let failed = |error| Failure::io("give away", path.display().to_string(), error);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    let now = rustix::fs::fstat(&directory).map_err(failed)?;
    let (uid, gid) = user.outside_of((now.st_uid, now.st_gid));
    rustix::fs::fchown(
        &directory,
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
    )
    .map_err(failed)?;
    // A change of owner takes the set-id bits away.
    rustix::fs::fchmod(&directory, Mode::from_raw_mode(now.st_mode & 0o7777)).map_err(failed)
}

fn fresh_dev(entries: &[Mount], user: &UserNamespace<'_>, label: Option<&str>) -> Step<OwnedFd> {
    let entry = entries
        .iter()
        .rfind(|entry| entry.destination() == Path::new("/dev"));
    let words = entry
        .into_iter()
        .flat_map(|entry| entry.options().iter().flatten());
    let options = MountOptions::parse(words.map(String::as_str));
    let (uid, gid) = user.outside_of((0, 0));
    let owner = [("uid", uid.to_string()), ("gid", gid.to_string())];
    let given = options.data.iter().map(|word| match word.split_once('=') {
        Some((key, value)) => FilesystemOption::Value(key, value),
        None => FilesystemOption::Flag(word),
    });
    let owner = owner
        .iter()
        .map(|(key, value)| FilesystemOption::Value(key, value));
    let attributes = options.set.flags() | options.set_tree.flags();
    let all = given.chain(owner).chain(labels::option(label));
    let dev = new_filesystem("tmpfs", all, attributes).map_err(|error| {
        Failure::io("mount", "tmpfs on /dev", copy_of_error(error.io())).because(error.to_string())
    })?;
    devices::make_default_in(dev.as_fd(), Some(user))?;
    Ok(dev)
}

/// The root of the file system of message queues belongs to nobody in the namespace, who may not label it.
fn label_queues(entries: &[Mount], label: &str) -> Step<()> {
    let is_queues = |entry: &Mount| entry.typ().as_deref() == Some(labels::MQUEUE);
    if !entries.iter().any(is_queues) {
        return Ok(());
    }
    let failed = |error: std::io::Error| Failure::io("label", labels::MQUEUE, error);
    let made = new_filesystem(labels::MQUEUE, [], MountAttrFlags::empty())
        .map_err(|error| failed(copy_of_error(error.io())))?;
    labels::on_root(made.as_fd(), label).map_err(|error| failed(error.into()))
}

/// The kernel lets root mount a sysfs, and the namespace's own root only where it sees another one.
fn sysfs(entries: &[Mount]) -> Step<Option<OwnedFd>> {
    let is_sysfs = |entry: &&Mount| entry.typ().as_deref() == Some("sysfs");
    let Some(entry) = entries.iter().find(is_sysfs) else {
        return Ok(None);
    };
    let words = entry.options().iter().flatten().map(String::as_str);
    let options = MountOptions::parse(words);
    let attributes = options.set.flags() | options.set_tree.flags();
    let source = [FilesystemOption::Value("source", "sysfs")];
    let made = new_filesystem("sysfs", source, attributes).map_err(|error| {
        Failure::io("mount", "sysfs", copy_of_error(error.io())).because(error.to_string())
    })?;
    Ok(Some(made))
}

/// Gives pipes to the namespace's root, who can then give them to whoever the process runs as.
pub(super) fn give_streams(stdio: &Stdio, user: &UserNamespace<'_>) {
    let Stdio::Pipes {
        stdin,
        stdout,
        stderr,
    } = stdio
    else {
        return;
    };
    let (uid, gid) = user.outside_of((0, 0));
    for stream in [stdin.as_ref(), Some(stdout), Some(stderr)]
        .into_iter()
        .flatten()
    {
        // A stream that has no owner to change works all the same; it only cannot be opened again.
        let _ = rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    }
}

/// Refuses a user or group that the namespace does not have.
pub(super) fn check_user(user: &User, namespace: Option<&UserNamespace<'_>>) -> Step<()> {
    let Some(UserNamespace { ids, .. }) = namespace else {
        return Ok(());
    };
    let is_there = |mappings, id| IdMapping::outside_of(mappings, id).is_some();
    let groups = user.groups.iter().chain([&user.gid]);
    let missing = match groups.copied().find(|group| !is_there(ids.gids, *group)) {
        _ if !is_there(ids.uids, user.uid) => format!("user {}", user.uid),
        Some(group) => format!("group {group}"),
        None => return Ok(()),
    };
    let reason = "the sandbox's user namespace does not have it";
    Err(Failure::invalid("run as", missing, reason))
}

/// Becomes the root of the namespace.
pub(super) fn become_root(user: &UserNamespace<'_>) -> Step<()> {
    let failed = |error: std::io::Error| Failure::io("join", "the sandbox's user namespace", error);
    move_into_link_name_space(user.fd, Some(LinkNameSpaceType::User))
        .map_err(|error| failed(error.into()))?;
    set_credentials(Uid::ROOT, Gid::ROOT, &[]).map_err(failed)?;
    // The change has set the flag to the machine's default.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| failed(error.into()))
}

/// Becomes the root of the namespace, with mounts that it owns, and a PID namespace for children to be born in if `pid` says so.
pub(super) fn enter(user: &UserNamespace<'_>, pid: UnshareFlags) -> Step<()> {
    uncover_root()?;
    become_root(user)?;
    let new = UnshareFlags::NEWNS | pid;
    let new = nix::sched::CloneFlags::from_bits_retain(new.bits().cast_signed());
    nix::sched::unshare(new)
        .map_err(|error| Failure::io("make", "namespaces inside the user namespace", error))
}

/// Returns in a new process, the first of the PID namespace that the caller has made for its children. The caller tells its maker
/// and ends.
pub(super) fn be_born(end: &ChildEnd) -> Step<()> {
    let sibling = Fork {
        new: UnshareFlags::empty(),
        cgroup: None,
        relation: Relation::Sibling,
    };
    match fork(&sibling) {
        Ok(Forked::Child) => Ok(()),
        Ok(Forked::Parent(child)) => {
            // Where nobody listens any more, the other process finds out by itself.
            let _ = end.born(child.pid, child.pidfd.as_fd());
            leave(0)
        }
        Err(error) => {
            let errno = std::io::Error::from_raw_os_error(error.errno());
            Err(Failure::io("fork", "into the PID namespace", errno))
        }
    }
}

/// Says whether a container has a PID namespace of its own to make.
pub(super) fn new_pid(pid: &PidMode<'_>) -> UnshareFlags {
    match pid {
        PidMode::New => UnshareFlags::NEWPID,
        PidMode::Host | PidMode::Join(_) | PidMode::Target(_) => UnshareFlags::empty(),
    }
}

/// Takes away what lies over the root of this mount namespace: copied into another user's, it could not be taken away any more.
fn uncover_root() -> Step<()> {
    let failed = |error| Failure::io("uncover", "the caller's root", error);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &str| rustix::fs::open(path, flags, Mode::empty());
    let id = |file: BorrowedFd<'_>| {
        statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|found| found.stx_mnt_id)
    };
    let root = open("/")
        .and_then(|root| id(root.as_fd()))
        .map_err(failed)?;
    loop {
        let top = open("/..").map_err(failed)?;
        if id(top.as_fd()).map_err(failed)? == root {
            return Ok(());
        }
        rustix::mount::unmount("/..", UnmountFlags::DETACH).map_err(failed)?;
    }
}
