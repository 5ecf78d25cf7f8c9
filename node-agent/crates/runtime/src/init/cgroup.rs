//! The container's cgroup: getting into it, and what of it is seen at /sys/fs/cgroup.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_sys::mount::{self, Change, Depth, FilesystemOption, new_filesystem};
use agent_sys::procfs::Procfs;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::Step;
use super::root::copy_of_error;
use crate::failure::Failure;
use crate::request::CgroupAttach;

/// Moves the calling process into its cgroup, unless it was born there.
///
/// It writes itself: whoever writes another's id waits for a grace period of about 10 ms.
pub(super) fn attach(cgroup: &CgroupAttach<'_>) -> Step<()> {
    let CgroupAttach::V1(directories) = cgroup else {
        return Ok(());
    };
    for directory in *directories {
        join(*directory).map_err(|error| Failure::io("join", "its cgroup", error))?;
    }
    Ok(())
}

fn join(directory: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let open = |file| rustix::fs::openat(directory, file, flags, Mode::empty());
    let tasks = match open("tasks") {
        // The tree without controllers that systemd has beside those of v1.
        Err(Errno::NOENT) => open("cgroup.procs")?,
        opened => opened?,
    };
    rustix::io::write(&tasks, b"0").map(drop)
}

/// The hierarchies that the calling process has a cgroup of its own in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hierarchies {
    /// One tree.
    Unified,
    /// Names as /proc/self/cgroup has them, such as `cpu,cpuacct` or `name=systemd`.
    Separate(Vec<String>),
}

impl Hierarchies {
    /// Reads them; to be called before the process gets a cgroup namespace, where every path is `/`.
    pub(super) fn read(procfs: &Procfs, cgroup: &CgroupAttach<'_>) -> Step<Self> {
        if let CgroupAttach::V2(_) = cgroup {
            return Ok(Self::Unified);
        }
        let text = procfs
            .read("self/cgroup")
            .map_err(|error| Failure::io("read", "/proc/self/cgroup", error))?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        let mut separate = false;
        let mut names = Vec::new();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(name), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if name.is_empty() {
                continue;
            }
            separate = true;
            // Where the process sits in the root, a mount would show the whole machine's cgroups.
            if path != "/" {
                names.push(name.to_owned());
            }
        }
        if separate {
            Self::Separate(names)
        } else {
            Self::Unified
        }
    }
}

/// Mounts the cgroup tree on `target`.
pub(super) fn mount_on(
    target: BorrowedFd<'_>,
    hierarchies: &Hierarchies,
    attributes: MountAttrFlags,
) -> Step<()> {
    match hierarchies {
        Hierarchies::Unified => {
            let tree = hierarchy("cgroup2", &[], attributes)?;
            on_target(&tree, target)
        }
        Hierarchies::Separate(names) => mount_separate(target, names, attributes),
    }
}

fn mount_separate(
    target: BorrowedFd<'_>,
    names: &[String],
    attributes: MountAttrFlags,
) -> Step<()> {
    let writable = attributes - MountAttrFlags::MOUNT_ATTR_RDONLY;
    let options = [FilesystemOption::Value("mode", "755")];
    let top = new_filesystem("tmpfs", options, writable).map_err(|error| {
        Failure::io(
            "mount",
            "tmpfs on /sys/fs/cgroup",
            copy_of_error(error.io()),
        )
    })?;
    on_target(&top, target)?;
    for name in names {
        let directory = name.strip_prefix("name=").unwrap_or(name);
        let failed = |error| Failure::io("make", format!("/sys/fs/cgroup/{directory}"), error);
        rustix::fs::mkdirat(&top, directory, Mode::from_raw_mode(0o755)).map_err(failed)?;
        let place = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = rustix::fs::openat(&top, directory, place, Mode::empty()).map_err(failed)?;
        let tree = match name.strip_prefix("name=") {
            Some(own) => {
                let own = [
                    FilesystemOption::Flag("none"),
                    FilesystemOption::Value("name", own),
                ];
                hierarchy("cgroup", &own, attributes)?
            }
            None => {
                let controllers: Vec<_> = name.split(',').map(FilesystemOption::Flag).collect();
                hierarchy("cgroup", &controllers, attributes)?
            }
        };
        on_target(&tree, place.as_fd())?;
        if name.contains(',') {
            for controller in name.split(',') {
                rustix::fs::symlinkat(directory, &top, controller).map_err(failed)?;
            }
        }
    }
    if attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) {
        let read_only = Change::set(MountAttrFlags::MOUNT_ATTR_RDONLY);
        mount::change(top.as_fd(), &read_only, Depth::One)
            .map_err(|error| Failure::io("make read-only", "/sys/fs/cgroup", error))?;
    }
    Ok(())
}

fn hierarchy(
    kind: &str,
    options: &[FilesystemOption<'_>],
    attributes: MountAttrFlags,
) -> Step<OwnedFd> {
    new_filesystem(kind, options.iter().copied(), attributes).map_err(|error| {
        Failure::io("mount", "a cgroup hierarchy", copy_of_error(error.io()))
            .because(error.to_string())
    })
}

fn on_target(mounted: &OwnedFd, target: BorrowedFd<'_>) -> Step<()> {
    mount::attach(mounted.as_fd(), target)
        .map_err(|error| Failure::io("attach", "a cgroup mount", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_where_the_process_is_at_the_root_are_left_out() {
        let text = "9:name=systemd:/x\n8:pids:/\n4:cpu,cpuacct:/pod/c\n0::/\n";
        let expected = ["name=systemd", "cpu,cpuacct"].map(str::to_owned).into();
        assert_eq!(Hierarchies::parse(text), Hierarchies::Separate(expected));
    }

    #[test]
    fn one_line_without_a_name_is_the_unified_tree() {
        assert_eq!(Hierarchies::parse("0::/pod/c\n"), Hierarchies::Unified);
    }
}
