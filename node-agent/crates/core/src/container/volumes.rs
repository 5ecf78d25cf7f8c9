//! Bind sources of the host's, taken for a container; blocking.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use agent_oci::Propagation;
use agent_shim_client::VolumeMount;
use agent_sys::mount::{Depth, copy_of_path, shift_owners};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::error::SpecError;
use super::plan::SHARED_MEMORY;
use super::spec::{ContainerRecord, MountSource};
use crate::sandbox::spec::{NamespaceScope, SandboxRecord};

/// Where the kernel lists the mounts of this process's namespace (proc(5)).
const MOUNTS: &str = "/proc/self/mountinfo";

/// Takes a detached copy of each bind source, in the host's mount namespace.
pub(super) fn take(
    sandbox: &SandboxRecord,
    users: Option<&OwnedFd>,
    record: &ContainerRecord,
) -> Result<Vec<VolumeMount>, SpecError> {
    let mut taken = Vec::new();
    if sandbox.spec.ipc == NamespaceScope::Host {
        // A mount of the caller's at the same place comes later, and is the one that is used.
        taken.push(copy(Path::new(SHARED_MEMORY), SHARED_MEMORY)?);
    }
    for mount in record.mounts() {
        let MountSource::Bind { path, create } = &mount.source else {
            continue;
        };
        let failed = |source| SpecError::MountSource {
            path: path.clone(),
            source,
        };
        if *create && !path.exists() {
            std::fs::create_dir_all(path).map_err(failed)?;
        }
        if mount.propagation == Propagation::Bidirectional && !is_shared(path).map_err(failed)? {
            return Err(SpecError::NotShared { path: path.clone() });
        }
        let volume = copy(path, &mount.destination)?;
        if mount.ids.is_some() {
            let users = users.ok_or(SpecError::UserNamespace)?;
            shift_owners(volume.mount.as_fd(), users.as_fd(), Depth::Tree).map_err(|source| {
                SpecError::Shift {
                    path: path.clone(),
                    source,
                }
            })?;
        }
        taken.push(volume);
    }
    Ok(taken)
}

fn copy(path: &Path, destination: &str) -> Result<VolumeMount, SpecError> {
    let copied = copy_of_path(path, Depth::Tree);
    Ok(VolumeMount {
        destination: agent_oci::clean_destination(destination)?,
        mount: copied.map_err(|source| SpecError::MountSource {
            path: path.to_owned(),
            source,
        })?,
    })
}

/// Returns whether the mount that holds `path` passes mounts on: a container's mounts could not
/// come out through any other.
fn is_shared(path: &Path) -> std::io::Result<bool> {
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?;
    let mounts = std::fs::read_to_string(MOUNTS)?;
    Ok(is_shared_in(&mounts, found.stx_mnt_id))
}

fn is_shared_in(mounts: &str, id: u64) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ');
        let is_it = fields.next().and_then(|field| field.parse().ok()) == Some(id);
        // Optional fields lie between the mount options and a lone hyphen.
        is_it
            && fields
                .skip(5)
                .take_while(|field| *field != "-")
                .any(|field| field.starts_with("shared:"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shared_mount_is_shared() {
        let mounts = "21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
            22 21 0:5 / /a rw shared:7 - tmpfs shared:8 rw\n\
            23 21 0:6 / /b rw master:7 - tmpfs none rw\n";
        assert!(!is_shared_in(mounts, 21));
        assert!(is_shared_in(mounts, 22));
        assert!(!is_shared_in(mounts, 23));
        assert!(!is_shared_in(mounts, 24));
    }
}
