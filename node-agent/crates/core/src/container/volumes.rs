//! Bind sources of the host's, taken for a container; blocking.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use agent_oci::Propagation;
use agent_shim_client::VolumeMount;
use agent_sys::mount::{Depth, copy_of_path, shift_owners};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::error::SpecError;
use super::plan::SHARED_MEMORY;
use super::selinux;
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
        let passing = match mount.propagation {
            Propagation::Private => None,
            Propagation::HostToContainer => Some(Passing::SHARED_OR_SLAVE),
            Propagation::Bidirectional => Some(Passing::SHARED),
        };
        if let Some(passing) = passing
            && !passing.holds_for(path).map_err(failed)?
        {
            return Err(SpecError::NotPassedOn {
                path: path.clone(),
                needs: passing.shown,
            });
        }
        selinux::label_source(record, path, mount.relabel)?;
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

/// What the mount that holds a source must be, so that a container's mounts come out through it, or
/// the host's come in.
struct Passing {
    shown: &'static str,
    /// Beginnings of what the kernel lists for such a mount.
    marks: &'static [&'static str],
}

impl Passing {
    const SHARED: Self = Self {
        shown: "shared",
        marks: &["shared:"],
    };

    const SHARED_OR_SLAVE: Self = Self {
        shown: "shared or slave",
        marks: &["shared:", "master:"],
    };

    fn holds_for(&self, path: &Path) -> std::io::Result<bool> {
        let found = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?;
        let mounts = std::fs::read_to_string(MOUNTS)?;
        Ok(self.holds_in(&mounts, found.stx_mnt_id))
    }

    fn holds_in(&self, mounts: &str, id: u64) -> bool {
        let is_mark = |field: &str| self.marks.iter().any(|mark| field.starts_with(mark));
        mounts.lines().any(|line| {
            let mut fields = line.split(' ');
            let is_it = fields.next().and_then(|field| field.parse().ok()) == Some(id);
            // Optional fields lie between the mount options and a lone hyphen.
            is_it
                && fields
                    .skip(5)
                    .take_while(|field| *field != "-")
                    .any(is_mark)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_passes_on_what_it_is_marked_for() {
        let mounts = "21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
            22 21 0:5 / /a rw shared:7 - tmpfs shared:8 rw\n\
            23 21 0:6 / /b rw master:7 - tmpfs none rw\n";
        for (id, shared, either) in [
            (21, false, false),
            (22, true, true),
            (23, false, true),
            (24, false, false),
        ] {
            assert_eq!(Passing::SHARED.holds_in(mounts, id), shared, "{id}");
            assert_eq!(
                Passing::SHARED_OR_SLAVE.holds_in(mounts, id),
                either,
                "{id}"
            );
        }
    }
}
