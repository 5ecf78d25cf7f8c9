//! What carries our names and belongs to nobody: found and removed, but never what may still run.

use std::collections::HashSet;
use std::sync::Arc;

use agent_cgroup::OwnCgroup;
use agent_types::SnapshotKey;

use crate::container::spec::ContainerRecord;
use crate::sandbox::spec::SandboxRecord;
use crate::services::{Interrupted, Services, blocking};

/// What a pass removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StraysRemoved {
    /// Cgroups without a record.
    pub cgroups: usize,
    /// Writable layers without a record.
    pub layers: usize,
    /// Directories of the state directory without a record.
    pub directories: usize,
    /// Pinned network namespaces without a record.
    pub namespaces: usize,
}

/// Compares the machine with the records and removes what has none.
///
/// The machine is looked at before the records, and whatever is made has its record first: so
/// nothing that is being made is taken for a stray.
///
/// # Errors
/// Only when the agent is going down.
pub async fn remove_strays(services: Arc<Services>) -> Result<StraysRemoved, Interrupted> {
    blocking(move || pass(&services)).await
}

fn pass(services: &Services) -> StraysRemoved {
    let cgroups = cgroups(services);
    let layers = services.snapshots.containers();
    let directories = directories(services);
    let namespaces = services.cni.pinned();
    let mut removed = StraysRemoved::default();
    let (Ok(containers), Ok(sandboxes)) = (
        services.store.load_all::<ContainerRecord>(),
        services.store.load_all::<SandboxRecord>(),
    ) else {
        return removed;
    };
    if !containers.unreadable.is_empty() || !sandboxes.unreadable.is_empty() {
        // Somebody owns these; who, is not known.
        return removed;
    }
    let known: HashSet<&str> = containers
        .records
        .iter()
        .map(|(key, _)| key.as_str())
        .chain(sandboxes.records.iter().map(|(key, _)| key.as_str()))
        .collect();
    for cgroup in cgroups {
        if !known.contains(cgroup.id.as_str()) {
            removed.cgroups += usize::from(remove_cgroup(services, &cgroup));
        }
    }
    for (key, _) in layers {
        if !known.contains(key.as_str()) {
            removed.layers += usize::from(remove_layer(services, &key));
        }
    }
    for name in directories {
        if !known.contains(name.as_str()) {
            removed.directories += usize::from(remove_directory(services, &name));
        }
    }
    for path in namespaces {
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_none_or(|name| !known.contains(name)) {
            removed.namespaces += usize::from(unpin(&path));
        }
    }
    removed
}

fn unpin(path: &std::path::Path) -> bool {
    match agent_sys::netns::unpin(path) {
        Ok(()) => {
            tracing::info!(path = %path.display(), "stray network namespace removed");
            true
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), error = %error, "stray network namespace not removed");
            false
        }
    }
}

fn directories(services: &Services) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(services.paths().sandboxes()) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Returns the cgroups below our parent; none where it is not ours any more.
fn cgroups(services: &Services) -> Vec<OwnCgroup> {
    match services.cgroups.renew_claim() {
        Ok(()) => services.cgroups.list_ours().unwrap_or_default(),
        Err(error) => {
            tracing::warn!(error = %agent_telemetry::chain(&error), "cgroups not looked through for strays");
            Vec::new()
        }
    }
}

fn remove_cgroup(services: &Services, stray: &OwnCgroup) -> bool {
    match services.cgroups.remove_stray(stray) {
        Ok(gone) => {
            if gone {
                tracing::info!(path = %stray.path, "stray cgroup removed");
            }
            gone
        }
        Err(error) => {
            tracing::warn!(path = %stray.path, error = %agent_telemetry::chain(&error), "stray cgroup not removed");
            false
        }
    }
}

fn remove_layer(services: &Services, key: &SnapshotKey) -> bool {
    match services.snapshots.remove(key) {
        Ok(()) => {
            tracing::info!(snapshot = %key, "stray layer removed");
            true
        }
        Err(error) => {
            tracing::warn!(snapshot = %key, error = %agent_telemetry::chain(&error), "stray layer not removed");
            false
        }
    }
}

/// Removes a sandbox's directory, unless a shim still listens in it.
fn remove_directory(services: &Services, name: &str) -> bool {
    let path = services.paths().sandboxes().join(name);
    if std::os::unix::net::UnixStream::connect(path.join("shim.sock")).is_ok() {
        tracing::error!(path = %path.display(), "a shim runs that no record knows; its sandbox is left alone");
        return false;
    }
    match std::fs::remove_dir_all(&path) {
        Ok(()) => {
            tracing::info!(path = %path.display(), "stray directory removed");
            true
        }
        // Its sandbox was being removed, and was faster.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => {
            tracing::warn!(path = %path.display(), error = %error, "stray directory not removed");
            false
        }
    }
}
