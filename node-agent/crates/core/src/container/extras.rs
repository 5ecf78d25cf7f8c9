//! What a container gets for the devices it names in the Container Device Interface.
//!
//! It is found out once and recorded: vendors rewrite their specifications at any time, and the
//! processes run in a container later must find the same variables.

use std::path::PathBuf;

use agent_cdi::{DeviceNode, Edits};
use agent_oci::{DevicePlan, HookPlan, Propagation};
use serde::{Deserialize, Serialize};

use super::devices;
use super::error::{CreateError, SpecError};
use super::spec::{ContainerSpec, DeviceSpec, MountSource, MountSpec, Relabel};
use crate::sandbox::spec::SandboxRecord;
use crate::services::{Services, blocking};

/// What a container gets beside what it asks for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extras {
    /// Environment variables; they win over the container's.
    pub env: Vec<(String, Vec<u8>)>,
    /// Mounts.
    pub mounts: Vec<MountSpec>,
    /// Devices.
    pub devices: Vec<ExtraDevice>,
    /// Groups.
    pub groups: Vec<u32>,
    /// Programs run at points of its life.
    pub hooks: Vec<HookPlan>,
}

/// A device node; what is not given is as on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraDevice {
    host_path: PathBuf,
    path: String,
    access: String,
    number: Option<(char, i64, i64)>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

/// Finds what the devices of a container bring along.
pub(super) async fn find(
    services: &Services,
    sandbox: &SandboxRecord,
    spec: &ContainerSpec,
) -> Result<Extras, CreateError> {
    if spec.cdi_devices.is_empty() {
        return Ok(Extras::default());
    }
    let refused = |source| CreateError::Spec {
        name: spec.metadata.name.clone(),
        source: Box::new(source),
    };
    let (cdi, names) = (services.settings.cdi.clone(), spec.cdi_devices.clone());
    let edits = blocking(move || cdi.resolve(&names)).await?;
    let edits = edits.map_err(|error| refused(error.into()))?;
    if !edits.hooks.is_empty() && sandbox.spec.user_namespace.is_some() {
        // They are programs of the host's root, who is nobody there.
        return Err(refused(SpecError::HooksAndUsers));
    }
    Ok(Extras::new(edits))
}

impl Extras {
    fn new(edits: Edits) -> Self {
        let mounts = edits.mounts.into_iter().map(mount);
        Self {
            env: edits
                .env
                .into_iter()
                .map(|(name, value)| (name, value.into_bytes()))
                .collect(),
            mounts: mounts.collect(),
            devices: edits.devices.into_iter().map(ExtraDevice::from).collect(),
            groups: edits.groups,
            hooks: edits.hooks.into_iter().map(hook).collect(),
        }
    }
}

fn hook(hook: agent_cdi::Hook) -> HookPlan {
    HookPlan {
        stage: hook.stage,
        path: hook.path,
        args: hook.args,
        env: hook.env,
        timeout: hook.timeout,
    }
}

/// Sorts the words of mount(8) that a specification has; what is left must be attributes, which
/// is checked where the container's own are.
fn mount(mount: agent_cdi::Mount) -> MountSpec {
    let mut spec = MountSpec {
        source: MountSource::Bind {
            path: mount.host_path,
            create: false,
        },
        destination: mount.container_path,
        readonly: false,
        recursive_readonly: false,
        propagation: Propagation::Private,
        options: Vec::new(),
        ids: None,
        relabel: Relabel::No,
    };
    for word in mount.options {
        match word.as_str() {
            "bind" | "rbind" | "rw" | "defaults" | "private" | "rprivate" => {}
            "ro" => spec.readonly = true,
            "slave" | "rslave" => spec.propagation = Propagation::HostToContainer,
            "shared" | "rshared" => spec.propagation = Propagation::Bidirectional,
            _ => spec.options.push(word),
        }
    }
    spec
}

impl From<DeviceNode> for ExtraDevice {
    fn from(node: DeviceNode) -> Self {
        Self {
            host_path: node.host_path,
            path: node.path,
            access: node.access,
            number: node.number,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
        }
    }
}

impl ExtraDevice {
    /// Returns the device as it is on the host but for what is given; blocking.
    pub(super) fn plan(&self) -> Result<DevicePlan, SpecError> {
        let mut plan = match self.number {
            Some((kind, major, minor)) => DevicePlan {
                path: self.path.clone(),
                kind,
                major,
                minor,
                mode: 0o666,
                uid: 0,
                gid: 0,
                access: self.access.clone(),
            },
            None => devices::node(&DeviceSpec {
                host_path: self.host_path.clone(),
                container_path: self.path.clone(),
                access: self.access.clone(),
            })?,
        };
        plan.mode = self.mode.unwrap_or(plan.mode);
        plan.uid = self.uid.unwrap_or(plan.uid);
        plan.gid = self.gid.unwrap_or(plan.gid);
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_mount_are_sorted() {
        let words = ["rbind", "ro", "rslave", "nosuid", "noexec"];
        let spec = mount(agent_cdi::Mount {
            host_path: "/usr/lib/x".into(),
            container_path: "/lib/x".to_owned(),
            options: words.map(str::to_owned).into(),
        });
        assert!(spec.readonly);
        assert_eq!(spec.propagation, Propagation::HostToContainer);
        assert_eq!(spec.options, ["nosuid", "noexec"]);
    }

    #[test]
    fn what_is_not_given_is_as_on_the_host() {
        let mut device = ExtraDevice {
            host_path: "/dev/null".into(),
            path: "/dev/x".to_owned(),
            access: "rw".to_owned(),
            number: None,
            mode: None,
            uid: Some(7),
            gid: None,
        };
        let plan = device.plan().unwrap();
        assert_eq!(
            (plan.kind, plan.major, plan.minor, plan.uid),
            ('c', 1, 3, 7)
        );
        device.number = Some(('c', 10, 200));
        device.host_path = "/nowhere".into();
        assert_eq!(device.plan().unwrap().minor, 200);
        device.number = None;
        assert!(device.plan().is_err());
    }
}
