//! Contents of images, mounted read-only beside a container's root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use agent_sys::mount::{self, Depth};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Step;
use super::in_root::InRoot;
use super::root::{attach_on_base, join, unmount_base};
use crate::failure::{Failure, FailureKind};
use crate::request::{ImageMount, Root};

/// Mounts each image, or the part of it that is asked for; nothing can see the mounts yet.
///
/// The current directory is the base of the layers.
pub(super) fn mount(root: &Root<'_>, images: &[ImageMount<'_>]) -> Step<Vec<(PathBuf, OwnedFd)>> {
    let one = |image: &ImageMount<'_>| Ok((image.destination.into(), content(root, image)?));
    images.iter().map(one).collect()
}

fn content(root: &Root<'_>, image: &ImageMount<'_>) -> Step<OwnedFd> {
    let layers = Root {
        lower: image.lower,
        upper: None,
        work: None,
        ..*root
    };
    let whole = join(&layers, None)?;
    if image.sub_path.is_empty() {
        return Ok(whole);
    }
    // Kernels before 6.15 copy only what is attached somewhere. No other process sees this place.
    attach_on_base(whole.as_fd(), root.base)?;
    let part = part_of(&whole, image);
    unmount_base(root.base)?;
    part
}

/// Returns a copy of what the path leads to inside the image.
fn part_of(whole: &OwnedFd, image: &ImageMount<'_>) -> Step<OwnedFd> {
    let failed = |error: std::io::Error| {
        let shown = format!("{} of the image on {}", image.sub_path, image.destination);
        let absent = matches!(
            Errno::from_io_error(&error),
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)
        );
        let failure = Failure::io("mount", shown, error);
        if absent {
            failure.of_kind(FailureKind::Invalid)
        } else {
            failure
        }
    };
    let part = InRoot(whole.as_fd())
        .open(Path::new(image.sub_path), OFlags::PATH)
        .map_err(failed)?;
    mount::copy_of(part.as_fd(), Depth::One).map_err(failed)
}
