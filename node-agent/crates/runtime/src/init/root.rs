//! The root file system: layers joined into one mount that only this container sees.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use agent_sys::mount::{self, Change, Depth, FilesystemError, FilesystemOption, new_filesystem};
use agent_sys::pivot::PivotError;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountAttrFlags, MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Step;
use super::in_root::InRoot;
use super::labels::{self, CONTEXT};
use crate::failure::Failure;
use crate::request::{Durability, MountApi, Root};

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Keeps everything that this mount namespace does to itself.
pub(super) fn make_all_private() -> Step<()> {
    let root = rustix::fs::open("/", DIRECTORY, Mode::empty())
        .map_err(|error| Failure::io("open", "the caller's root", error))?;
    let private = Change::propagation(MountPropagationFlags::PRIVATE);
    mount::change(root.as_fd(), &private, Depth::Tree)
        .map_err(|error| Failure::io("make private", "the caller's mounts", error))
}

/// Enters a copy of another mount namespace.
pub(super) fn enter_copy(other: BorrowedFd<'_>) -> Step<()> {
    let failed = |error| Failure::io("copy", "the host's mounts", error);
    move_into_link_name_space(other, Some(LinkNameSpaceType::Mount)).map_err(failed)?;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
        .map_err(|error| failed(rustix::io::Errno::from_raw_os_error(error as i32)))
}

/// Joins the layers and attaches them at `place`, which is made: where others look for the root
/// before it is entered.
pub(super) fn mount_root_at(place: &Path, root: &Root<'_>, needed: &[PathBuf]) -> Step<OwnedFd> {
    let joined = joined(root, needed)?;
    let failed = |error| Failure::io("make", place.display().to_string(), error);
    std::fs::create_dir(place).map_err(failed)?;
    mount::attach(joined.as_fd(), open_directory(place)?.as_fd())
        .map_err(|error| Failure::io("attach", "the root file system", error))?;
    Ok(joined)
}

/// Joins the layers, attaches them over the caller's root, where no path leads to, and returns the new root.
///
/// `needed` are the destinations that later mounts need: where a root without a writable layer lacks one of them, it gets a small
/// writable layer in memory.
pub(super) fn mount_root(root: &Root<'_>, needed: &[PathBuf]) -> Step<OwnedFd> {
    let joined = joined(root, needed)?;
    attach_over_root(joined.as_fd())?;
    Ok(joined)
}

/// Joins the layers into a detached mount, as [`mount_root`] does, and leaves it detached.
pub(super) fn joined(root: &Root<'_>, needed: &[PathBuf]) -> Step<OwnedFd> {
    let writable = enter_base(root)?;
    let mut joined = join(root, writable.as_ref())?;
    let lacks = |path: &PathBuf| InRoot(joined.as_fd()).open(path, OFlags::PATH).is_err();
    if writable.is_none() && needed.iter().any(lacks) {
        let memory = layer_in_memory(root.base)?;
        joined = join(root, Some(&memory))?;
        // The file system holds on to its layers by itself.
        unmount_base(root.base)?;
    }
    Ok(joined)
}

/// Goes to the base of the layers, which their names are relative to; returns the directories of the writable one.
pub(super) fn enter_base(root: &Root<'_>) -> Step<Option<Writable>> {
    let base = open_directory(root.base)?;
    rustix::process::fchdir(&base)
        .map_err(|error| Failure::io("enter", root.base.display().to_string(), error))?;
    let refused = |reason| Failure::invalid("mount", "the root file system", reason);
    if root.lower.is_empty() {
        return Err(refused("it has no layers"));
    }
    match (root.upper, root.work) {
        (Some(upper), Some(work)) => Ok(Some((upper.to_owned(), work.to_owned()))),
        (None, None) => Ok(None),
        _ => Err(refused("an upper directory needs a work directory")),
    }
}

/// Attaches a new root over the caller's: no path leads there, so nothing of the caller's is hidden by it.
pub(super) fn attach_over_root(root: BorrowedFd<'_>) -> Step<()> {
    let top = open_directory(Path::new("/"))?;
    mount::attach(root, top.as_fd())
        .map_err(|error| Failure::io("attach", "the root file system", error))
}

fn open_directory(path: &Path) -> Step<OwnedFd> {
    rustix::fs::open(path, DIRECTORY, Mode::empty())
        .map_err(|error| Failure::io("open", path.display().to_string(), error))
}

/// Takes the topmost mount off the layers' base.
pub(super) fn unmount_base(base: &Path) -> Step<()> {
    rustix::mount::unmount(base, UnmountFlags::DETACH)
        .map_err(|error| Failure::io("unmount", base.display().to_string(), error))
}

/// An upper and a work directory.
pub(super) type Writable = (PathBuf, PathBuf);

/// Attaches a mount over the layers' base, or a directory in it, where this mount namespace alone sees it.
pub(super) fn attach_on_base(mount: BorrowedFd<'_>, base: &Path) -> Step<()> {
    let target = open_directory(base)?;
    mount::attach(mount, target.as_fd())
        .map_err(|error| Failure::io("attach", "a mount on the layers' base", error))
}

/// Joins the layers into a detached mount; the current directory is their base.
pub(super) fn join(root: &Root<'_>, writable: Option<&Writable>) -> Step<OwnedFd> {
    if let ([only], None) = (root.lower, writable) {
        // An overlay needs two layers at least.
        return match root.label {
            None => single(only).map_err(|error| Failure::io("mount layer", only, error)),
            Some(_) => labelled_single(root, only),
        };
    }
    if root.mount_api == MountApi::Classic {
        return join_classic(root, writable);
    }
    match overlay(root, writable) {
        Err(error) if lacks_single_layers(&error) => join_classic(root, writable),
        other => other.map_err(|error| {
            let source = copy_of_error(error.io());
            Failure::io("mount", "the root file system", source).because(error.to_string())
        }),
    }
}

/// Returns whether the kernel does not know `lowerdir+`: before 6.7 it says so at once, before 6.5 at the end.
fn lacks_single_layers(error: &FilesystemError) -> bool {
    let step = matches!(
        error,
        FilesystemError::Option { .. } | FilesystemError::Create { .. }
    );
    step && error.io().raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error())
}

fn single(layer: &str) -> io::Result<OwnedFd> {
    let mounted = mount::copy_of_path(Path::new(layer), Depth::One)?;
    let read_only = Change::set(MountAttrFlags::MOUNT_ATTR_RDONLY);
    mount::change(mounted.as_fd(), &read_only, Depth::One)?;
    Ok(mounted)
}

/// Mounts one layer under another label than its files have: only an overlay shows one.
fn labelled_single(root: &Root<'_>, only: &str) -> Step<OwnedFd> {
    let (empty, _) = layer_in_memory(root.base)?;
    let lower = [only.to_owned(), empty.display().to_string()];
    let layers = Root {
        lower: &lower,
        ..*root
    };
    let joined = join(&layers, None);
    // The file system holds on to its layers by itself.
    unmount_base(root.base)?;
    joined
}

fn overlay(root: &Root<'_>, writable: Option<&Writable>) -> Result<OwnedFd, FilesystemError> {
    let names: Vec<String>;
    let mut options = vec![
        FilesystemOption::Value("source", "overlay"),
        // Whatever the machine's defaults: layers are plain directories that others read too.
        FilesystemOption::Value("index", "off"),
        FilesystemOption::Value("metacopy", "off"),
        FilesystemOption::Value("redirect_dir", "nofollow"),
    ];
    options.extend(labels::option(root.label));
    options.extend(
        root.lower
            .iter()
            .map(|name| FilesystemOption::Value("lowerdir+", name)),
    );
    if let Some((upper, work)) = writable {
        names = [upper, work]
            .map(|path| path.to_string_lossy().into_owned())
            .into();
        if let [upper, work] = names.as_slice() {
            options.push(FilesystemOption::Value("upperdir", upper));
            options.push(FilesystemOption::Value("workdir", work));
        }
        if root.durability == Durability::Volatile {
            options.push(FilesystemOption::Flag("volatile"));
        }
    }
    new_filesystem("overlay", options, MountAttrFlags::empty())
}

/// Joins the layers with `mount(2)`, whose options must fit in a page: hence the relative names.
fn join_classic(root: &Root<'_>, writable: Option<&Writable>) -> Step<OwnedFd> {
    let lower = root.lower.join(":");
    let mut data = format!("index=off,metacopy=off,redirect_dir=nofollow,lowerdir={lower}");
    if let Some((upper, work)) = writable {
        data.push_str(&format!(
            ",upperdir={},workdir={}",
            upper.display(),
            work.display()
        ));
        if root.durability == Durability::Volatile {
            data.push_str(",volatile");
        }
    }
    if let Some(label) = root.label {
        // It has commas of its own.
        data.push_str(&format!(",{CONTEXT}=\"{label}\""));
    }
    let data = std::ffi::CString::new(data).map_err(|_| {
        Failure::invalid(
            "mount",
            "the root file system",
            "a layer's name has a NUL byte",
        )
    })?;
    let failed = |error: io::Error| Failure::io("mount", "the root file system", error);
    rustix::mount::mount(
        "overlay",
        root.base,
        "overlay",
        MountFlags::empty(),
        data.as_c_str(),
    )
    .map_err(|error| failed(error.into()))?;
    // From here on as if the newer calls had made it: a mount that no path leads to.
    let joined = mount::copy_of_path(root.base, Depth::One).map_err(failed)?;
    unmount_base(root.base)?;
    Ok(joined)
}

/// Mounts a small tmpfs on the base directory, for the mount points of a root that is only read.
fn layer_in_memory(base: &Path) -> Step<Writable> {
    let failed = |error: io::Error| Failure::io("make", "a writable layer in memory", error);
    let options = [
        FilesystemOption::Value("mode", "755"),
        FilesystemOption::Value("size", "1m"),
    ];
    let memory = new_filesystem("tmpfs", options, MountAttrFlags::empty())
        .map_err(|error| failed(copy_of_error(error.io())))?;
    let target =
        rustix::fs::open(base, DIRECTORY, Mode::empty()).map_err(|error| failed(error.into()))?;
    mount::attach(memory.as_fd(), target.as_fd()).map_err(failed)?;
    for name in ["upper", "work"] {
        rustix::fs::mkdirat(&memory, name, Mode::from_raw_mode(0o755))
            .map_err(|error| failed(error.into()))?;
    }
    Ok((base.join("upper"), base.join("work")))
}

/// Makes `root` the root of this mount namespace and lets go of everything else.
pub(super) fn pivot(root: BorrowedFd<'_>) -> Step<()> {
    agent_sys::pivot::pivot(root).map_err(|error| match error {
        PivotError::Enter(source) => Failure::io("enter", "the container's root", source),
        PivotError::Identify(source) => Failure::io("identify", "the mount of a root", source),
        PivotError::Leave(source) => Failure::io("leave", "the caller's root", source),
        PivotError::Stacked => {
            let reason = "too many mounts lie over it";
            Failure::invalid("leave", "the caller's root", reason)
        }
    })
}

/// Returns an equal error: the kernel's number is all there is to one.
pub(crate) fn copy_of_error(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
