//! A container from the child's side, in order.

use std::os::fd::{AsFd, OwnedFd};

use agent_sys::process::{join_new_session_keyring, leave, reset_signals, set_hostname_and_domain};
use agent_sys::procfs::Procfs;
use oci_spec::runtime::{Hooks, Linux, LinuxNamespace, LinuxNamespaceType, Process, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountAttrFlags;
use rustix::process::{DumpableBehavior, set_dumpable_behavior, umask};
use rustix::thread::{
    ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces,
};

use agent_sys::mount::{self, Change, Depth};

use super::cgroup::{self, Hierarchies};
use super::credentials::Credentials;
use super::in_root::{InRoot, is_procfs};
use super::launch::{Launch, Wait, place_streams};
use super::mount_options::propagation;
use super::process::{self, Missing};
use super::program::Program;
use super::root::copy_of_error;
use super::user_namespace::{self, Premade};
use super::{Step, devices, images, masks, mounts, own_volumes, passwd, root, terminal};
use crate::channel::ChildEnd;
use crate::failure::Failure;
use crate::maker::Birth;
use crate::request::{CreateRequest, Namespaces, PidMode, Root, Stdio};
use crate::shared_mount::Copies;
use crate::times::Times;
use crate::visit;

/// Runs the child's side to its end.
pub(crate) fn run(request: CreateRequest<'_>, copies: Copies, end: ChildEnd) -> ! {
    match prepare(&request, copies, &end) {
        Ok(launch) => launch.run(end),
        Err(failure) => {
            end.failed(&failure);
            leave(failure.kind().exit_code())
        }
    }
}

fn prepare<'a>(request: &'a CreateRequest<'_>, copies: Copies, end: &ChildEnd) -> Step<Launch<'a>> {
    let born = Times::now();
    begin()?;
    cgroup::attach(&request.cgroup)?;
    join_namespaces(&request.namespaces)?;
    let spec: Spec = serde_json::from_slice(request.spec).map_err(|error| {
        Failure::invalid("read", "the container's specification", "").because(error.to_string())
    })?;
    let Some(process) = spec.process().as_ref() else {
        return Err(Failure::invalid(
            "run",
            "the container",
            "its specification has no process",
        ));
    };
    refuse_unsupported(&spec, request)?;
    let mut procfs = detached_procfs()?;
    let hierarchies = hierarchies_for(&spec, request, &procfs)?;
    process::set_oom_score(&procfs, process)?;
    process::set_labels(&procfs, process)?;
    let copies = Copies {
        proc: copies.proc.or(target_proc(&request.namespaces.pid)?),
        ..copies
    };
    // Before a user namespace is entered, whose root may not look at the process that lives there.
    join_pid(&request.namespaces.pid)?;
    let joined = Times::now();
    let mut premade = None;
    if let Some(user) = &request.namespaces.user {
        premade = Some(user_namespace::premake(&spec, request, user)?);
        let new_pid = user_namespace::new_pid(&request.namespaces.pid);
        user_namespace::enter(user, new_pid)?;
        if !new_pid.is_empty() {
            user_namespace::be_born(end)?;
            procfs = detached_procfs()?;
        }
    }
    own_namespaces(&spec, &request.namespaces)?;
    let root = build(&spec, request, copies, (&procfs, hierarchies), premade)?;
    if request.hooks.is_some() && (end.standing().is_err() || !end.wait_for_release()) {
        // Whoever was to be told is gone.
        leave(1);
    }
    root::pivot(root.as_fd())?;
    let times = Times {
        begun: 0,
        born,
        joined,
        mounted: Times::now(),
    };
    let in_root = InRoot(root.as_fd());
    let user = passwd::resolve(in_root, &request.user, process.user())?;
    user_namespace::check_user(&user, request.namespaces.user.as_ref())?;
    process::enter_directory(in_root, process.cwd(), Missing::Make)?;
    let terminal = place_streams(in_root, &request.stdio, &user)?;
    if let Some(terminal) = &terminal {
        terminal::attach_console(in_root, terminal.slave.as_fd())?;
    }
    seal_root(&root, &spec, &request.root)?;
    let launch = finish(process, request, user, terminal)?;
    Ok(Launch { times, ..launch })
}

/// Sees to it that the process's children are born in the PID namespace that it is to share.
fn join_pid(pid: &PidMode<'_>) -> Step<()> {
    match pid {
        PidMode::New | PidMode::Host => Ok(()),
        PidMode::Join(reaper) => {
            move_into_thread_name_spaces(reaper.pidfd.as_fd(), ThreadNameSpaceType::PROCESS_ID)
                .map_err(|error| Failure::io("join", "the sandbox's PID namespace", error))
        }
        PidMode::Target(container) => visit::join(*container, ThreadNameSpaceType::PROCESS_ID),
    }
}

/// Returns a procfs of another container's PID namespace: the one that this container sees.
fn target_proc(pid: &PidMode<'_>) -> Step<Option<OwnedFd>> {
    let PidMode::Target(container) = pid else {
        return Ok(None);
    };
    let copied = visit::in_mounts_of(*container, || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
        if is_procfs(proc.as_fd())? {
            mount::copy_of(proc.as_fd(), Depth::One)
        } else {
            Err(rustix::io::Errno::NODEV.into())
        }
    })?;
    copied
        .map(Some)
        .map_err(|error| Failure::io("copy", "the other container's procfs", error))
}

/// Refuses what would be dangerous to leave out silently.
fn refuse_unsupported(spec: &Spec, request: &CreateRequest<'_>) -> Step<()> {
    let refused = |what: &str| {
        let reason = "the embedded runtime does not do that";
        Err(Failure::invalid("use", what, reason))
    };
    let has_hooks = || {
        let hooks = spec.hooks().as_ref();
        hooks.is_some_and(|hooks| *hooks != Hooks::default())
    };
    match (request.hooks, request.namespaces.user) {
        (None, _) if has_hooks() => return refused("hooks that its caller does not know of"),
        (Some(_), Some(_)) => return refused("hooks in a user namespace"),
        _ => {}
    }
    let namespaces = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.namespaces().as_ref());
    let mut kinds = namespaces.into_iter().flatten().map(LinuxNamespace::typ);
    if kinds.any(|kind| kind == LinuxNamespaceType::User || kind == LinuxNamespaceType::Time) {
        return refused("a user or time namespace");
    }
    Ok(())
}

/// Settles what every child of ours begins with.
pub(super) fn begin() -> Step<()> {
    reset_signals().map_err(|error| Failure::io("reset", "signals", error))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| Failure::io("drop", "the right to be traced", error))?;
    umask(Mode::empty());
    // Where the kernel has no keyrings there is nothing to leave behind.
    let _ = join_new_session_keyring();
    Ok(())
}

pub(super) fn join_namespaces(namespaces: &Namespaces<'_>) -> Step<()> {
    let joined = [
        (namespaces.network, "network"),
        (namespaces.ipc, "IPC"),
        (namespaces.uts, "UTS"),
    ];
    for (fd, name) in joined {
        if let Some(fd) = fd {
            move_into_link_name_space(fd, None)
                .map_err(|error| Failure::io("join", format!("the {name} namespace"), error))?;
        }
    }
    Ok(())
}

pub(super) fn detached_procfs() -> Step<Procfs> {
    Procfs::detached()
        .map_err(|error| Failure::io("mount", "a private procfs", copy_of_error(error.io())))
}

fn hierarchies_for(
    spec: &Spec,
    request: &CreateRequest<'_>,
    procfs: &Procfs,
) -> Step<Option<Hierarchies>> {
    let is_cgroup = |kind: &str| kind == "cgroup" || kind == "cgroup2";
    let mut kinds = spec
        .mounts()
        .iter()
        .flatten()
        .filter_map(|mount| mount.typ().as_deref());
    if !kinds.any(is_cgroup) {
        return Ok(None);
    }
    Hierarchies::read(procfs, &request.cgroup).map(Some)
}

/// Makes the namespaces that belong to one container and not to its sandbox.
fn own_namespaces(spec: &Spec, namespaces: &Namespaces<'_>) -> Step<()> {
    let listed = |kind: LinuxNamespaceType| {
        let all = spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.namespaces().as_ref());
        let mut all = all.into_iter().flatten();
        all.any(|namespace| namespace.typ() == kind && namespace.path().is_none())
    };
    let mut new = nix::sched::CloneFlags::empty();
    if listed(LinuxNamespaceType::Cgroup) {
        new |= nix::sched::CloneFlags::CLONE_NEWCGROUP;
    }
    let own_names = namespaces.uts.is_none() && listed(LinuxNamespaceType::Uts);
    if own_names {
        new |= nix::sched::CloneFlags::CLONE_NEWUTS;
    }
    if new.is_empty() {
        return Ok(());
    }
    nix::sched::unshare(new).map_err(|error| Failure::io("make", "its own namespaces", error))?;
    if own_names {
        let hostname = spec.hostname().as_deref().unwrap_or_default();
        let domainname = spec.domainname().as_deref().unwrap_or_default();
        set_hostname_and_domain(hostname, domainname)
            .map_err(|error| Failure::io("set", format!("host name {hostname:?}"), error))?;
    }
    Ok(())
}

/// Builds the file system; returns its root.
fn build(
    spec: &Spec,
    request: &CreateRequest<'_>,
    copies: Copies,
    (procfs, hierarchies): (&Procfs, Option<Hierarchies>),
    premade: Option<Premade>,
) -> Step<OwnedFd> {
    let entries = spec.mounts().as_deref().unwrap_or_default();
    if let Some(hooked) = request.hooks {
        root::enter_copy(hooked.mounts())?;
    }
    root::make_all_private()?;
    let devices_are_made = premade.is_some();
    let made = match premade {
        Some(made) => {
            root::attach_over_root(made.root.as_fd())?;
            made
        }
        None => Premade {
            root: match request.hooks {
                None => root::mount_root(&request.root, &mounts::destinations(entries))?,
                Some(hooked) => {
                    let needed = mounts::destinations(entries);
                    root::mount_root_at(&hooked.root(), &request.root, &needed)?
                }
            },
            mounts: images::mount(&request.root, request.images)?,
            dev: None,
            sysfs: None,
        },
    };
    let root = made.root;
    let in_root = InRoot(root.as_fd());
    let read_only = spec.root().as_ref().and_then(|root| root.readonly()) == Some(true);
    own_volumes::make(in_root, request.own_volumes, read_only)?;
    let mut sources = mounts::Sources {
        volumes: request.mounts,
        made: made.mounts,
        dev: made.dev,
        sysfs: made.sysfs,
        shm: copies.shm,
        proc: copies.proc,
        label: request.root.label,
        own_proc: procfs,
        own_proc_fits: matches!(request.namespaces.pid, PidMode::New | PidMode::Host),
        hierarchies,
    };
    for entry in entries {
        mounts::attach(in_root, entry, &mut sources)?;
    }
    if !devices_are_made {
        make_devices(in_root, spec)?;
    }
    Ok(root)
}

fn make_devices(root: InRoot<'_>, spec: &Spec) -> Step<()> {
    if mounts::provides_fresh_dev(spec.mounts().as_deref().unwrap_or_default()) {
        devices::make_default(root)?;
    }
    let linux = spec.linux().as_ref();
    let listed = linux.and_then(|linux| linux.devices().as_deref());
    devices::make_listed(root, listed.unwrap_or_default())
}

/// Hides and protects what the specification says, at last the root itself.
fn seal_root(root: &OwnedFd, spec: &Spec, layers: &Root<'_>) -> Step<()> {
    let in_root = InRoot(root.as_fd());
    let linux = spec.linux().as_ref();
    let paths = |get: fn(&Linux) -> &Option<Vec<String>>| {
        linux
            .and_then(|linux| get(linux).as_deref())
            .unwrap_or_default()
    };
    masks::make_read_only(in_root, paths(Linux::readonly_paths))?;
    masks::hide(in_root, paths(Linux::masked_paths), layers.label)?;
    if let Some(word) = linux.and_then(|linux| linux.rootfs_propagation().as_deref()) {
        let Some((kind, depth)) = propagation(word) else {
            let reason = "it is not a propagation type";
            return Err(Failure::invalid(
                "use",
                format!("rootfsPropagation {word:?}"),
                reason,
            ));
        };
        mount::change(
            root.as_fd(),
            &Change::propagation(kind.flag()),
            depth.into(),
        )
        .map_err(|error| Failure::io("set", format!("rootfsPropagation {word}"), error))?;
    }
    let asked = spec.root().as_ref().and_then(|root| root.readonly()) == Some(true);
    if asked || layers.upper.is_none() {
        let read_only = Change::set(MountAttrFlags::MOUNT_ATTR_RDONLY);
        mount::change(root.as_fd(), &read_only, Depth::One)
            .map_err(|error| Failure::io("make read-only", "the root file system", error))?;
    }
    Ok(())
}

fn finish<'a>(
    process: &Process,
    request: &'a CreateRequest<'_>,
    user: agent_types::user::User,
    terminal: Option<terminal::Terminal>,
) -> Step<Launch<'a>> {
    let limits = process::Limits::of(process);
    process::set_limits(&limits.now)?;
    Ok(Launch {
        program: Program::new(process, user.home.as_deref())?,
        credentials: Credentials::new(user, process, request.seccomp),
        has_terminal: matches!(request.stdio, Stdio::Terminal { .. }),
        terminal,
        limits,
        umask: Mode::from_raw_mode(process.user().umask().unwrap_or(0o022) & 0o777),
        birth: match request.namespaces.pid {
            PidMode::Join(_) | PidMode::Target(_) => Birth::Sibling,
            PidMode::New | PidMode::Host => Birth::Direct,
        },
        wait: Wait::ForRelease,
        hooks: request.hooks,
        times: Times::default(),
    })
}
