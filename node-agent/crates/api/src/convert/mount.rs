//! Mounts and devices between CRI and the node.

use std::path::{Component, Path};

use agent_core::container::spec::{ContainerRecord, DeviceSpec, MountSource, MountSpec, Relabel};
use agent_oci::Propagation;
use proto::cri;
use tonic::Status;

use super::users;
use crate::status::invalid;

/// Returns what is to be mounted, and how.
pub(super) fn spec(mount: cri::Mount) -> Result<MountSpec, Status> {
    let refused = |why: &str| invalid(format!("mount at {:?} {why}", mount.container_path));
    let ids = match (mount.uid_mappings.as_slice(), mount.gid_mappings.as_slice()) {
        ([], []) => None,
        (uids, gids) => Some(users::ids(uids, gids).map_err(&refused)?),
    };
    let propagation = match mount.propagation() {
        cri::MountPropagation::PropagationPrivate => Propagation::Private,
        cri::MountPropagation::PropagationHostToContainer => Propagation::HostToContainer,
        cri::MountPropagation::PropagationBidirectional => Propagation::Bidirectional,
    };
    if mount.recursive_read_only && (!mount.readonly || propagation != Propagation::Private) {
        return Err(refused(
            "is recursively read-only, which needs readonly and private propagation",
        ));
    }
    let readonly = mount.readonly || mount.image.is_some();
    if mount.image.is_some() && propagation == Propagation::Bidirectional {
        return Err(refused("is of an image, and cannot be bidirectional"));
    }
    Ok(MountSpec {
        source: source(&mount)?,
        destination: mount.container_path,
        readonly,
        recursive_readonly: mount.recursive_read_only,
        propagation,
        options: mount.mount_options,
        ids,
        relabel: match mount.selinux_relabel {
            true => Relabel::Private,
            false => Relabel::No,
        },
    })
}

fn source(mount: &cri::Mount) -> Result<MountSource, Status> {
    let refused = |why: &str| invalid(format!("mount at {:?} {why}", mount.container_path));
    let Some(image) = &mount.image else {
        return match (mount.host_path.as_str(), mount.image_sub_path.as_str()) {
            ("", _) => Err(refused("has neither a host path nor an image")),
            (path, "") => Ok(MountSource::Bind {
                path: path.into(),
                create: true,
            }),
            _ => Err(refused("has an image_sub_path and no image")),
        };
    };
    if !mount.host_path.is_empty() {
        return Err(refused("has both a host path and an image"));
    }
    if image.image.is_empty() {
        return Err(refused("has an image without a name"));
    }
    let inside = Path::new(&mount.image_sub_path)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside {
        return Err(refused(
            "has an image_sub_path that is not a path below the image's root",
        ));
    }
    Ok(MountSource::Image {
        reference: image.image.clone(),
        user_reference: image.user_specified_image.clone(),
        sub_path: mount.image_sub_path.clone(),
    })
}

/// Returns the names of devices.
pub(super) fn cdi(devices: Vec<cri::CdiDevice>) -> Vec<String> {
    devices.into_iter().map(|device| device.name).collect()
}

/// Returns a device of the host's.
pub(super) fn device(device: cri::Device) -> DeviceSpec {
    DeviceSpec {
        host_path: device.host_path.into(),
        container_path: device.container_path,
        access: device.permissions,
    }
}

/// Returns a mount as ContainerStatus shows it; `None` for those that CRI knows nothing of.
pub(super) fn shown(mount: &MountSpec, record: &ContainerRecord) -> Option<cri::Mount> {
    let source = match &mount.source {
        MountSource::Bind { path, .. } => cri::Mount {
            host_path: path.to_string_lossy().into_owned(),
            ..cri::Mount::default()
        },
        MountSource::Image {
            reference,
            user_reference,
            sub_path,
        } => cri::Mount {
            image: Some(cri::ImageSpec {
                image: reference.clone(),
                user_specified_image: user_reference.clone(),
                image_ref: record
                    .image_mounts
                    .get(&mount.destination)
                    .map(|mounted| mounted.image.to_string())
                    .unwrap_or_default(),
                ..cri::ImageSpec::default()
            }),
            image_sub_path: sub_path.clone(),
            ..cri::Mount::default()
        },
        MountSource::Tmpfs { .. } => return None,
    };
    let propagation = match mount.propagation {
        Propagation::Private => cri::MountPropagation::PropagationPrivate,
        Propagation::HostToContainer => cri::MountPropagation::PropagationHostToContainer,
        Propagation::Bidirectional => cri::MountPropagation::PropagationBidirectional,
    };
    Some(cri::Mount {
        container_path: mount.destination.clone(),
        readonly: mount.readonly,
        recursive_read_only: mount.recursive_readonly,
        selinux_relabel: mount.relabel != Relabel::No,
        propagation: propagation.into(),
        mount_options: mount.options.clone(),
        uid_mappings: users::shown(mount.ids.as_ref().map_or(&[], |ids| &ids.uids)),
        gid_mappings: users::shown(mount.ids.as_ref().map_or(&[], |ids| &ids.gids)),
        ..source
    })
}
