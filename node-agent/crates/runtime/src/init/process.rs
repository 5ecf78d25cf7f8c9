//! What a process inherits besides its rights: limits, labels, its place, its environment.

use std::os::fd::AsFd;
use std::path::Path;

use agent_sys::procfs::Procfs;
use oci_spec::runtime::{PosixRlimit, PosixRlimitType, Process};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use super::Step;
use super::in_root::{InRoot, Last, type_of};
use crate::failure::{Failure, FailureKind};

/// Sets how soon the process is chosen when memory runs out.
///
/// Without `CAP_SYS_RESOURCE` the kernel refuses to go below what we have; that then holds.
pub(super) fn set_oom_score(procfs: &Procfs, process: &Process) -> Step<()> {
    let Some(wanted) = process.oom_score_adj() else {
        return Ok(());
    };
    let wanted = wanted.clamp(-1000, 1000);
    match procfs.write("self/oom_score_adj", wanted.to_string().as_bytes()) {
        Err(error) if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) => Ok(()),
        other => {
            other.map_err(|error| Failure::io("set", format!("oom_score_adj to {wanted}"), error))
        }
    }
}

/// Sets the labels that hold from the next `execve` on.
pub(super) fn set_labels(procfs: &Procfs, process: &Process) -> Step<()> {
    if let Some(profile) = process
        .apparmor_profile()
        .as_deref()
        .filter(|name| !name.is_empty())
    {
        let value = format!("exec {profile}");
        let written = match procfs.write("self/attr/apparmor/exec", value.as_bytes()) {
            // Before Linux 5.8 it had no directory of its own.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                procfs.write("self/attr/exec", value.as_bytes())
            }
            other => other,
        };
        written.map_err(|error| {
            Failure::io("use", format!("AppArmor profile {profile}"), error)
                .of_kind(FailureKind::Invalid)
        })?;
    }
    if let Some(label) = process
        .selinux_label()
        .as_deref()
        .filter(|label| !label.is_empty())
    {
        procfs
            .write("self/attr/exec", label.as_bytes())
            .map_err(|error| {
                Failure::io("use", format!("SELinux label {label}"), error)
                    .of_kind(FailureKind::Invalid)
            })?;
    }
    Ok(())
}

/// Resource limits, by when they can be set.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// At any time.
    pub(super) now: Vec<PosixRlimit>,
    /// Of open files: once the maker's are closed.
    pub(super) files: Vec<PosixRlimit>,
    /// Of the user's processes: once the last process is forked.
    pub(super) processes: Vec<PosixRlimit>,
}

impl Limits {
    /// Sorts the limits of a specification.
    pub(super) fn of(process: &Process) -> Self {
        let mut limits = Self::default();
        for limit in process.rlimits().iter().flatten() {
            let list = match limit.typ() {
                PosixRlimitType::RlimitNofile => &mut limits.files,
                PosixRlimitType::RlimitNproc => &mut limits.processes,
                _ => &mut limits.now,
            };
            list.push(*limit);
        }
        limits
    }
}

/// Sets the resource limits.
pub(super) fn set_limits(limits: &[PosixRlimit]) -> Step<()> {
    for limit in limits {
        let value = |number: u64| (number != u64::MAX).then_some(number);
        let new = Rlimit {
            current: value(limit.soft()),
            maximum: value(limit.hard()),
        };
        rustix::process::setrlimit(resource(limit.typ()), new).map_err(|error| {
            let shown = format!("limit {} to {}:{}", limit.typ(), limit.soft(), limit.hard());
            Failure::io("set", shown, error).of_kind(FailureKind::Invalid)
        })?;
    }
    Ok(())
}

const fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}

/// What to do about a working directory that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make it, as for a new container.
    Make,
    /// Refuse, as for an exec session.
    Refuse,
}

/// Goes to the working directory, and makes sure that it is inside the root.
pub(super) fn enter_directory(root: InRoot<'_>, path: &Path, missing: Missing) -> Step<()> {
    let path = if path.as_os_str().is_empty() {
        Path::new("/")
    } else {
        path
    };
    let shown = || format!("working directory {}", path.display());
    let refused = |reason| Failure::invalid("enter", shown(), reason);
    if !path.is_absolute() {
        return Err(refused("it is not an absolute path"));
    }
    let opened = match missing {
        Missing::Make => root.ensure(path, Last::Directory),
        Missing::Refuse => root.open(path, OFlags::PATH),
    };
    let failed =
        |error: std::io::Error| Failure::io("enter", shown(), error).of_kind(FailureKind::Invalid);
    let directory = opened.map_err(failed)?;
    if type_of(directory.as_fd()).map_err(failed)? != FileType::Directory {
        return Err(failed(Errno::NOTDIR.into()));
    }
    rustix::process::fchdir(&directory).map_err(|error| failed(error.into()))?;
    // A directory that is not reachable from the root has a name that does not begin with a slash.
    let name = rustix::process::getcwd(Vec::new()).map_err(|error| failed(error.into()))?;
    if name.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(refused("it lies outside of the container"))
    }
}
