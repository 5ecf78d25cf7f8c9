//! From a container's record to the plan that `agent-oci` makes a specification of. Pure.

use std::collections::BTreeMap;
use std::path::Path;

use agent_oci::{
    ContainerPlan, DevicePlan, MountPlan, MountSource as PlanSource, Namespace, Namespaces,
    Propagation,
};

use super::image_mounts;
use super::pid::{self, PidNamespace};
use super::spec::{ContainerRecord, MountSource};
use crate::sandbox::files;
use crate::sandbox::spec::{NamespaceScope, SandboxNetwork, SandboxRecord, SandboxSpec};

/// Returns the namespaces of a sandbox's containers.
pub(crate) fn namespaces(spec: &SandboxSpec) -> Namespaces {
    Namespaces {
        network: match spec.network {
            SandboxNetwork::Host => Namespace::Host,
            SandboxNetwork::Bridge | SandboxNetwork::None | SandboxNetwork::Container(_) => {
                Namespace::Sandbox
            }
        },
        ipc: scope(spec.ipc),
        uts: scope(spec.uts),
        pid: scope(spec.pid),
        cgroup: Namespace::New,
    }
}

const fn scope(scope: NamespaceScope) -> Namespace {
    match scope {
        NamespaceScope::Host => Namespace::Host,
        NamespaceScope::Sandbox => Namespace::Sandbox,
        NamespaceScope::Container => Namespace::New,
    }
}

/// Where shared memory is, on the host and in containers.
pub(super) const SHARED_MEMORY: &str = "/dev/shm";

/// What only the machine can tell about a container.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Devices asked for, as they are on the host.
    pub(crate) devices: Vec<DevicePlan>,
    /// Highest capability number of the kernel.
    pub(crate) last_capability: u8,
    /// What it has to hide beside the default masked paths.
    pub(crate) masked_paths: Vec<String>,
    /// AppArmor profile that confines it.
    pub(crate) apparmor_profile: Option<String>,
}

/// Returns the plan of a container.
pub(crate) fn plan(
    sandbox: &SandboxRecord,
    record: &ContainerRecord,
    directory: &Path,
    found: Found,
) -> ContainerPlan {
    let spec = &record.spec;
    let switches = spec.switches;
    ContainerPlan {
        id: record.id.to_string(),
        hostname: files::hostname(sandbox),
        domainname: sandbox.spec.domainname.clone(),
        image: record.defaults.clone(),
        entrypoint: spec.entrypoint.clone(),
        arguments: spec.arguments.clone(),
        env: spec.env.iter().chain(&record.extras.env).cloned().collect(),
        working_directory: spec.working_directory.clone(),
        user: spec.user.clone(),
        supplemental_groups: record.groups(),
        terminal: switches.terminal,
        terminal_size: spec.terminal_size,
        privileged: switches.privileged,
        capabilities: spec.capabilities.clone(),
        last_capability: found.last_capability,
        no_new_privileges: switches.no_new_privileges,
        apparmor_profile: found.apparmor_profile,
        selinux_label: record.selinux.as_ref().map(|labels| labels.process.clone()),
        mount_label: record.mount_label(),
        rlimits: spec.rlimits.clone(),
        // Unsaid is not inherited: the shim is spared by the OOM killer, its containers are not.
        oom_score_adj: Some(spec.oom_score_adj.unwrap_or_default()),
        namespaces: Namespaces {
            pid: match pid::of(&sandbox.spec, record) {
                PidNamespace::Own => Namespace::New,
                // The shim holds both kinds.
                PidNamespace::Sandbox | PidNamespace::Of(_) => Namespace::Sandbox,
                PidNamespace::Host => Namespace::Host,
            },
            ..namespaces(&sandbox.spec)
        },
        // The shim writes the sandbox's sysctls once, in the sandbox's namespaces.
        sysctls: BTreeMap::new(),
        readonly_root: switches.readonly_root,
        mounts: mounts(sandbox, record, directory),
        shm_size: Some(sandbox.spec.shm_size).filter(|size| *size > 0),
        masked_paths: spec.masked_paths.clone(),
        readonly_paths: spec.readonly_paths.clone(),
        machine_masked_paths: found.masked_paths,
        devices: found.devices,
        device_rules: Vec::new(),
        cgroup_path: record.cgroup.as_str().to_owned(),
        hooks: record.extras.hooks.clone(),
        annotations: BTreeMap::new(),
    }
}

fn mounts(sandbox: &SandboxRecord, record: &ContainerRecord, directory: &Path) -> Vec<MountPlan> {
    let spec = &record.spec;
    let taken = |destination: &str| {
        record
            .mounts()
            .any(|mount| mount.destination.trim_end_matches('/') == destination)
    };
    let mut mounts: Vec<MountPlan> = files::NAMES
        .iter()
        .filter(|(_, destination)| !taken(destination))
        .map(|(name, destination)| MountPlan {
            destination: (*destination).to_owned(),
            source: PlanSource::Bind(directory.join(name).to_string_lossy().into_owned()),
            readonly: spec.switches.readonly_root,
            recursive_readonly: false,
            propagation: Propagation::Private,
            options: Vec::new(),
        })
        .collect();
    if sandbox.spec.ipc == NamespaceScope::Host && !taken(SHARED_MEMORY) {
        mounts.push(MountPlan {
            destination: SHARED_MEMORY.to_owned(),
            source: PlanSource::Bind(SHARED_MEMORY.to_owned()),
            readonly: false,
            recursive_readonly: false,
            propagation: Propagation::Private,
            options: Vec::new(),
        });
    }
    mounts.extend(record.mounts().map(|mount| {
        MountPlan {
            destination: mount.destination.clone(),
            source: match &mount.source {
                MountSource::Bind { path, .. } => {
                    PlanSource::Bind(path.to_string_lossy().into_owned())
                }
                MountSource::Tmpfs { size, mode } => PlanSource::Tmpfs {
                    size: *size,
                    mode: *mode,
                },
                MountSource::Image { .. } => PlanSource::Image(image_mounts::source(
                    record
                        .image_mounts
                        .get(&mount.destination)
                        .map(|mount| &mount.image),
                )),
            },
            readonly: mount.readonly,
            recursive_readonly: mount.recursive_readonly,
            propagation: mount.propagation,
            options: mount.options.clone(),
        }
    }));
    mounts
}
