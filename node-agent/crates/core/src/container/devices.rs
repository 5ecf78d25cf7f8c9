//! Devices of the host's, looked up for a container; blocking.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use agent_oci::DevicePlan;

use super::error::SpecError;
use super::spec::{ContainerRecord, DeviceSpec};

/// Devices of the host's terminals: a container has its own.
const OWN: [&str; 2] = ["/dev/ptmx", "/dev/console"];

/// Directories of /dev that are file systems of their own, or links.
const SKIPPED: [&str; 6] = ["pts", "shm", "mqueue", "fd", "hugepages", ".udev"];

/// Returns the devices a container gets beside the default ones.
pub(crate) fn find(record: &ContainerRecord) -> Result<Vec<DevicePlan>, SpecError> {
    let spec = &record.spec;
    let mut found = Vec::new();
    if spec.switches.privileged {
        walk(Path::new("/dev"), &mut found);
        found.retain(|device| !OWN.contains(&device.path.as_str()));
    }
    for device in &spec.devices {
        found.extend(one(device)?);
    }
    for device in &record.extras.devices {
        found.push(device.plan()?);
    }
    Ok(found)
}

/// Returns the device at a path, or all of a directory's.
fn one(device: &DeviceSpec) -> Result<Vec<DevicePlan>, SpecError> {
    let failed = |source| SpecError::Device {
        path: device.host_path.clone(),
        source,
    };
    let metadata = std::fs::metadata(&device.host_path).map_err(failed)?;
    if !metadata.is_dir() {
        return Ok(vec![of(&metadata, device)?]);
    }
    let mut below = Vec::new();
    walk(&device.host_path, &mut below);
    for plan in &mut below {
        if let Ok(rest) = Path::new(&plan.path).strip_prefix(&device.host_path) {
            plan.path = Path::new(&device.container_path)
                .join(rest)
                .to_string_lossy()
                .into_owned();
        }
        plan.access.clone_from(&device.access);
    }
    Ok(below)
}

/// Returns the device node at a path.
pub(super) fn node(device: &DeviceSpec) -> Result<DevicePlan, SpecError> {
    let metadata = std::fs::metadata(&device.host_path).map_err(|source| SpecError::Device {
        path: device.host_path.clone(),
        source,
    })?;
    of(&metadata, device)
}

fn of(metadata: &std::fs::Metadata, device: &DeviceSpec) -> Result<DevicePlan, SpecError> {
    let found = plan(metadata, device.container_path.clone(), &device.access);
    found.ok_or_else(|| SpecError::Device {
        path: device.host_path.clone(),
        source: std::io::ErrorKind::InvalidInput.into(),
    })
}

/// Collects the devices below a directory; what vanishes meanwhile is left out.
fn walk(directory: &Path, found: &mut Vec<DevicePlan>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path: PathBuf = entry.path();
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        if metadata.is_dir() {
            let skip = entry
                .file_name()
                .to_str()
                .is_some_and(|name| SKIPPED.contains(&name));
            if !skip {
                walk(&path, found);
            }
        } else if let Some(plan) = plan(&metadata, path.to_string_lossy().into_owned(), "rwm") {
            found.push(plan);
        }
    }
}

/// Returns the plan of a device node; `None` for anything else.
fn plan(metadata: &std::fs::Metadata, path: String, access: &str) -> Option<DevicePlan> {
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => 'c',
        kind if kind.is_block_device() => 'b',
        _ => return None,
    };
    let number = metadata.rdev();
    Some(DevicePlan {
        path,
        kind,
        major: i64::from(rustix::fs::major(number)),
        minor: i64::from(rustix::fs::minor(number)),
        mode: metadata.mode() & 0o777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        access: access.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(path: &str) -> DeviceSpec {
        DeviceSpec {
            host_path: path.into(),
            container_path: "/dev/thing".to_owned(),
            access: "r".to_owned(),
        }
    }

    #[test]
    fn a_device_keeps_its_numbers() {
        let found = one(&device("/dev/null")).unwrap();
        let [null] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!((null.kind, null.major, null.minor), ('c', 1, 3));
        assert_eq!(
            (null.path.as_str(), null.access.as_str()),
            ("/dev/thing", "r")
        );
    }

    #[test]
    fn what_is_no_device_is_refused_by_name() {
        for path in ["/etc/passwd", "/nowhere"] {
            let error = one(&device(path)).unwrap_err();
            assert!(error.to_string().contains(path), "{error}");
        }
    }
}
