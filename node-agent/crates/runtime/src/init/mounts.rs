//! The mounts of a specification, attached on descriptors inside the root.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use agent_sys::mount::{self, Change, Depth, FilesystemOption, new_filesystem};
use agent_sys::procfs::Procfs;
use oci_spec::runtime::Mount;
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::Step;
use super::cgroup::{self, Hierarchies};
use super::in_root::{InRoot, Last, is_procfs, same_file, type_of};
use super::labels::{self, MQUEUE};
use super::mount_options::{BindDepth, Kind, MountOptions};
use super::root::copy_of_error;
use crate::failure::{Failure, FailureKind};
use crate::request::VolumeMount;

/// Files of procfs that something may be mounted on: what lxcfs provides.
const BELOW_PROC: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
];

/// What mounts are made from, beside the specification.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    /// Volumes by destination.
    pub(super) volumes: &'a [VolumeMount<'a>],
    /// What was made before for the destinations: contents of images, copies of bind sources.
    pub(super) made: Vec<(PathBuf, OwnedFd)>,
    /// A /dev with its devices, made before.
    pub(super) dev: Option<OwnedFd>,
    /// A sysfs made before.
    pub(super) sysfs: Option<OwnedFd>,
    /// A copy of the sandbox's /dev/shm.
    pub(super) shm: Option<OwnedFd>,
    /// A procfs of the container's PID namespace, where it was made by somebody else.
    pub(super) proc: Option<OwnedFd>,
    /// SELinux label of the container's own file systems.
    pub(super) label: Option<&'a str>,
    /// A procfs of the caller's PID namespace.
    pub(super) own_proc: &'a Procfs,
    /// Whether `own_proc` may become the container's.
    pub(super) own_proc_fits: bool,
    /// The container's cgroups.
    pub(super) hierarchies: Option<Hierarchies>,
}

/// Returns the destinations that the root itself must have: those that lie in no other mount.
pub(super) fn destinations(mounts: &[Mount]) -> Vec<PathBuf> {
    let all: Vec<&PathBuf> = mounts.iter().map(Mount::destination).collect();
    let inside = |path: &Path| {
        all.iter()
            .any(|other| path != **other && path.starts_with(other))
    };
    all.iter()
        .filter(|path| !inside(path))
        .map(|path| (*path).clone())
        .collect()
}

/// Returns whether /dev is a file system of the container's own, which is to be filled, and not a copy of another.
pub(super) fn provides_fresh_dev(mounts: &[Mount]) -> bool {
    let on_dev =
        |mount: &&Mount| lexical(mount.destination()).as_deref() == Some(Path::new("/dev"));
    mounts
        .iter()
        .rfind(on_dev)
        .is_some_and(|mount| mount.typ().as_deref() == Some("tmpfs"))
}

/// Makes and attaches one mount.
pub(super) fn attach(root: InRoot<'_>, entry: &Mount, sources: &mut Sources<'_>) -> Step<()> {
    let destination = lexical(entry.destination()).ok_or_else(|| {
        let shown = entry.destination().display().to_string();
        let reason = "the destination is not an absolute path below /";
        Failure::invalid("mount on", shown, reason)
    })?;
    let words = entry.options().iter().flatten().map(String::as_str);
    let options = MountOptions::parse(words);
    let what = Request {
        root,
        entry,
        destination: &destination,
        options,
        label: sources.label,
    };
    let kind = entry.typ().as_deref().unwrap_or("none");
    let volume = sources
        .volumes
        .iter()
        .find(|volume| Path::new(volume.destination) == entry.destination());
    if let Some(volume) = volume {
        let mount = volume
            .mount
            .try_clone_to_owned()
            .map_err(|error| what.failed(error))?;
        return what.place_bind(mount);
    }
    let made = sources
        .made
        .iter()
        .position(|(made, _)| made == entry.destination());
    if let Some(position) = made {
        let (_, mount) = sources.made.swap_remove(position);
        return what.place_bind(mount);
    }
    if destination == Path::new("/dev/shm")
        && let Some(shm) = sources.shm.take()
    {
        return what.place_filesystem(shm);
    }
    if destination == Path::new("/dev")
        && kind == "tmpfs"
        && let Some(dev) = sources.dev.take()
    {
        return what.place_filesystem(dev);
    }
    if what.options.bind.is_some() || kind == "bind" {
        let source = what.bind_source()?;
        return what.place_bind(source);
    }
    match kind {
        "proc" => what.proc(sources),
        "sysfs" => what.sysfs(sources),
        "cgroup" | "cgroup2" => what.cgroup(sources),
        kind => {
            let made = what.filesystem(kind)?;
            what.place_filesystem(made)
        }
    }
}

/// Returns copies of the bind sources that nobody else has taken, by destination.
pub(super) fn copy_binds(
    entries: &[Mount],
    taken: impl Fn(&Path) -> bool,
) -> Step<Vec<(PathBuf, OwnedFd)>> {
    let mut copies = Vec::new();
    for entry in entries.iter().filter(|entry| !taken(entry.destination())) {
        let options = MountOptions::parse(entry.options().iter().flatten().map(String::as_str));
        if options.bind.is_none() && entry.typ().as_deref() != Some("bind") {
            continue;
        }
        let source = entry.source().as_deref().unwrap_or(Path::new(""));
        let depth = options.bind.unwrap_or(BindDepth::Tree).into();
        let copy = mount::copy_of_path(source, depth).map_err(|error| {
            Failure::io("copy mount source", source.display().to_string(), error)
        })?;
        copies.push((entry.destination().clone(), copy));
    }
    Ok(copies)
}

/// Returns an absolute path without `.` and `..`, and `None` for the root itself.
fn lexical(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    (path.is_absolute() && clean != Path::new("/")).then_some(clean)
}

/// One mount that is asked for.
struct Request<'a> {
    root: InRoot<'a>,
    entry: &'a Mount,
    destination: &'a Path,
    options: MountOptions,
    label: Option<&'a str>,
}

impl Request<'_> {
    fn shown(&self) -> String {
        let kind = self.entry.typ().as_deref().unwrap_or("bind");
        format!("{kind} on {}", self.destination.display())
    }

    fn failed(&self, error: impl Into<io::Error>) -> Failure {
        Failure::io("mount", self.shown(), error)
    }

    /// Returns the failure to reach the destination, which is the image's fault where a part of it is no directory.
    fn unreachable(&self, error: io::Error) -> Failure {
        let failure = self.failed(error);
        let images = [Errno::NOTDIR, Errno::LOOP, Errno::NAMETOOLONG];
        match images.map(Errno::raw_os_error).contains(&failure.errno()) {
            true => failure.of_kind(FailureKind::Invalid),
            false => failure,
        }
    }

    fn refused(&self, reason: &'static str) -> Failure {
        Failure::invalid("mount", self.shown(), reason)
    }

    /// Returns the attributes for a new mount.
    fn attributes(&self) -> MountAttrFlags {
        self.options.set.flags() | self.options.set_tree.flags()
    }

    fn bind_source(&self) -> Step<OwnedFd> {
        let source = self.entry.source().as_deref().unwrap_or(Path::new(""));
        if !source.is_absolute() {
            return Err(self.refused("its source is not an absolute path"));
        }
        let depth = self.options.bind.unwrap_or(BindDepth::Tree).into();
        mount::copy_of_path(source, depth).map_err(|error| {
            self.failed(error)
                .because(format!("source {}", source.display()))
        })
    }

    /// Attaches a copy of something that exists elsewhere, under the options of this mount.
    fn place_bind(&self, mount: OwnedFd) -> Step<()> {
        if let Some(word) = self.options.data.first() {
            return Err(self
                .refused("an option is not for bind mounts")
                .because(word.clone()));
        }
        let last = match type_of(mount.as_fd()).map_err(|error| self.failed(error))? {
            FileType::Directory => Last::Directory,
            _ => Last::File,
        };
        let is_proc = self.is_procfs(mount.as_fd())?;
        let target = self.target(last, is_proc)?;
        let (kind, depth) = self
            .options
            .propagation
            .unwrap_or((Kind::Private, BindDepth::Tree));
        self.change(
            mount.as_fd(),
            &Change::propagation(kind.flag()),
            depth.into(),
        )?;
        self.change(mount.as_fd(), &self.options.attributes(), Depth::One)?;
        let tree = Change::set(self.options.set_tree.flags());
        self.change(mount.as_fd(), &tree, Depth::Tree)?;
        mount::attach(mount.as_fd(), target.as_fd()).map_err(|error| self.failed(error))
    }

    /// Attaches the root directory of a file system of the container's own.
    fn place_filesystem(&self, mount: OwnedFd) -> Step<()> {
        let target = self.target(Last::Directory, false)?;
        mount::attach(mount.as_fd(), target.as_fd()).map_err(|error| self.failed(error))?;
        match self.options.propagation {
            Some((kind, depth)) => self.change(
                mount.as_fd(),
                &Change::propagation(kind.flag()),
                depth.into(),
            ),
            None => Ok(()),
        }
    }

    fn change(&self, mount: BorrowedFd<'_>, change: &Change, depth: Depth) -> Step<()> {
        if change.is_nothing() {
            return Ok(());
        }
        mount::change(mount, change, depth).map_err(|error| self.failed(error))
    }

    fn filesystem(&self, kind: &str) -> Step<OwnedFd> {
        let source = self.entry.source().as_deref().and_then(Path::to_str);
        let source = source.filter(|source| !source.is_empty()).unwrap_or(kind);
        let data = self
            .options
            .data
            .iter()
            .map(|word| match word.split_once('=') {
                Some((key, value)) => FilesystemOption::Value(key, value),
                None => FilesystemOption::Flag(word),
            });
        let options = std::iter::once(FilesystemOption::Value("source", source)).chain(data);
        let options = options.chain(labels::option_for(kind, self.label));
        let made = new_filesystem(kind, options, self.attributes()).map_err(|error| {
            self.failed(copy_of_error(error.io()))
                .because(error.to_string())
        })?;
        if let Some(label) = self.label.filter(|_| kind == MQUEUE) {
            labels::on_root(made.as_fd(), label).map_err(|error| self.failed(error))?;
        }
        Ok(made)
    }

    fn proc(&self, sources: &mut Sources<'_>) -> Step<()> {
        let target = self.own_directory()?;
        let attributes = Change::set(self.attributes());
        let on_target = |mount: BorrowedFd<'_>| {
            self.change(mount, &attributes, Depth::One)?;
            mount::attach(mount, target.as_fd()).map_err(|error| self.failed(error))
        };
        match sources.proc.take() {
            Some(proc) => on_target(proc.as_fd()),
            // One procfs for both: what we write through it later is not reached by mounts below it.
            None if sources.own_proc_fits && self.options.data.is_empty() => {
                on_target(sources.own_proc.as_fd())
            }
            None if sources.own_proc_fits => on_target(self.filesystem("proc")?.as_fd()),
            None => Err(self.refused("its PID namespace has no procfs to copy")),
        }
    }

    fn sysfs(&self, sources: &mut Sources<'_>) -> Step<()> {
        let target = self.own_directory()?;
        if let Some(made) = sources.sysfs.take() {
            return mount::attach(made.as_fd(), target.as_fd()).map_err(|error| self.failed(error));
        }
        let made = match self.filesystem("sysfs") {
            Ok(made) => made,
            // Not ours to mount: the one that is there serves, if the network is the same.
            Err(failure) => {
                let copied = mount::copy_of_path(Path::new("/sys"), Depth::Tree);
                let copied = copied.map_err(|_| failure)?;
                self.change(copied.as_fd(), &Change::set(self.attributes()), Depth::Tree)?;
                copied
            }
        };
        mount::attach(made.as_fd(), target.as_fd()).map_err(|error| self.failed(error))
    }

    fn cgroup(&self, sources: &Sources<'_>) -> Step<()> {
        let target = self.target(Last::Directory, false)?;
        let Some(hierarchies) = &sources.hierarchies else {
            return Err(self.refused("its cgroups are not known"));
        };
        cgroup::mount_on(target.as_fd(), hierarchies, self.attributes())
    }

    /// Returns the destination of procfs or sysfs: a real directory that no link leads to, made where missing.
    fn own_directory(&self) -> Step<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let opened = match self.root.open_plain(self.destination, flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.root.ensure(self.destination, Last::Directory)
            }
            other => other,
        };
        let linked = Errno::LOOP.raw_os_error();
        let target = opened.map_err(|error| match error.raw_os_error() {
            Some(number) if number == linked => self.refused("its destination is a link"),
            _ => self.failed(error),
        })?;
        match type_of(target.as_fd()).map_err(|error| self.failed(error))? {
            FileType::Directory => Ok(target),
            FileType::Symlink => Err(self.refused("its destination is a link")),
            _ => Err(self.refused("its destination is not a directory")),
        }
    }

    /// Returns the destination, made where missing; refuses the root and what lies in a procfs.
    fn target(&self, last: Last, is_proc: bool) -> Step<OwnedFd> {
        if self.destination == Path::new("/proc") && !is_proc {
            return Err(self.refused("only procfs may be mounted on /proc"));
        }
        let target = self
            .root
            .ensure(self.destination, last)
            .map_err(|error| self.unreachable(error))?;
        let status = fstat(&target).map_err(|error| self.failed(error))?;
        let root = fstat(self.root.0).map_err(|error| self.failed(error))?;
        if same_file(&status, &root) {
            return Err(self.refused("its destination leads to the root"));
        }
        let allowed = BELOW_PROC
            .iter()
            .any(|path| self.destination == Path::new(path))
            || (is_proc && self.destination == Path::new("/proc"));
        if !allowed && self.is_procfs(target.as_fd())? {
            return Err(self.refused("its destination leads into procfs"));
        }
        Ok(target)
    }

    fn is_procfs(&self, file: BorrowedFd<'_>) -> Step<bool> {
        is_procfs(file).map_err(|error| self.failed(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_cleaned_by_their_text() {
        let clean = |path: &str| lexical(Path::new(path)).map(|path| path.display().to_string());
        assert_eq!(clean("/a/./b//c/../d").as_deref(), Some("/a/b/d"));
        assert_eq!(clean("/../../proc").as_deref(), Some("/proc"));
        assert_eq!(clean("relative"), None);
        assert_eq!(clean("/"), None);
        assert_eq!(clean("/a/.."), None);
    }
}
