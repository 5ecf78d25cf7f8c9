//! The SELinux labels of a container and of the sources of its mounts.

use std::path::Path;

use agent_selinux::{Labels, RelabelError, relabel};

use super::error::SpecError;
use super::spec::{ContainerRecord, ContainerSpec, Relabel};
use crate::sandbox::spec::SandboxRecord;
use crate::services::Services;

/// Returns a container's labels; `None`: none. A privileged one has those alone that it asks for.
pub(super) fn labels(
    services: &Services,
    sandbox: &SandboxRecord,
    spec: &ContainerSpec,
) -> Result<Option<Labels>, SpecError> {
    let pod = sandbox.selinux.as_ref();
    if spec.selinux.is_empty() && (spec.switches.privileged || pod.is_none()) {
        return Ok(None);
    }
    let taken = |_: &str| false;
    Ok(services.selinux.for_container(&spec.selinux, pod, taken)?)
}

/// Gives the source of a mount the label of the container's files, where that is asked for. Blocking.
pub(super) fn label_source(
    record: &ContainerRecord,
    path: &Path,
    wanted: Relabel,
) -> Result<(), RelabelError> {
    let Some(labels) = record.selinux.as_ref().filter(|_| wanted != Relabel::No) else {
        return Ok(());
    };
    let label = match wanted {
        Relabel::No => None,
        Relabel::Private => labels.mount.clone(),
        Relabel::Shared => labels.shared_mount(),
    };
    label.map_or(Ok(()), |label| relabel(path, &label))
}
