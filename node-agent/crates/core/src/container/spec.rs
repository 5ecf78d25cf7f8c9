//! What a container is to be, and what is remembered of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use agent_cgroup::{CgroupPath, Limits};
use agent_oci::{CapabilityPlan, ImageDefaults, Propagation, Rlimit};
use agent_selinux::{LabelWish, Labels};
use agent_snapshot::ChainId;
use agent_store::Record;
use agent_types::{ContainerId, ImageId, SandboxId};
use serde::{Deserialize, Serialize};

use super::extras::Extras;
use super::restart::{RestartPolicy, Wish};
use super::state::ContainerState;
use crate::sandbox::spec::{NamespaceScope, UserNamespace};
use crate::time::Timestamp;

/// What tells one container from another within its sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ContainerMetadata {
    /// Its name.
    pub name: String,
    /// How often it was made anew.
    pub attempt: u32,
}

/// Where a mount's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A path of the host's.
    Bind {
        /// Absolute; symlinks are resolved on the host.
        path: PathBuf,
        /// Make a directory there if there is nothing.
        create: bool,
    },
    /// Memory.
    Tmpfs {
        /// Bytes; `None`: the kernel's default.
        size: Option<u64>,
        /// Mode of its root.
        mode: Option<u32>,
    },
    /// The content of an image; it cannot be written.
    Image {
        /// The image as the caller named it.
        reference: String,
        /// The reference a user wrote, where the caller resolved it before.
        user_reference: String,
        /// File or directory in the image; empty: its root.
        sub_path: String,
    },
}

/// A namespace that all containers of a sandbox have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostNamespace {
    /// Network.
    Network,
    /// Inter-process communication.
    Ipc,
}

/// What a container says about its users.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum UserNamespaceWish {
    /// Nothing: they are its sandbox's.
    #[default]
    Unsaid,
    /// The host's.
    Host,
    /// Those of a user namespace, which must be its sandbox's.
    Of(UserNamespace),
}

/// Whether a bind source is given the SELinux label of the container's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Relabel {
    /// It keeps its own.
    #[default]
    No,
    /// So that containers of the same level may use it.
    Private,
    /// So that all containers may.
    Shared,
}

/// A mount of the caller's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// What.
    pub source: MountSource,
    /// Absolute path in the container.
    pub destination: String,
    /// Refuse writes.
    pub readonly: bool,
    /// Refuse writes to mounts below it as well.
    pub recursive_readonly: bool,
    /// How mounts made later travel.
    pub propagation: Propagation,
    /// Further options of the mount, such as `noexec`.
    #[serde(default)]
    pub options: Vec<String>,
    /// Show its files' owners by these ids, which must be its sandbox's.
    #[serde(default)]
    pub ids: Option<UserNamespace>,
    /// Whether its source gets the label of the container's files.
    #[serde(default)]
    pub relabel: Relabel,
}

/// A device of the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Device node, or a directory of them.
    pub host_path: PathBuf,
    /// Where it appears.
    pub container_path: String,
    /// Some of `rwm`.
    pub access: String,
}

/// Which seccomp filter holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SeccompSpec {
    /// None.
    #[default]
    Unconfined,
    /// The node's default profile.
    Default,
    /// A profile's JSON.
    Profile(String),
}

/// Which AppArmor profile holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ApparmorSpec {
    /// The caller has not said: the node's own where the machine has it.
    #[default]
    Unsaid,
    /// The node's own, where the kernel has AppArmor.
    Default,
    /// None.
    Unconfined,
    /// One that is loaded, by its name.
    Profile(String),
}

/// A container's log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogSpec {
    /// Relative to the sandbox's log directory; empty: no log.
    pub path: String,
    /// Bytes at which the shim rotates it; 0: somebody else does.
    pub max_bytes: u64,
    /// Rotated files to keep.
    pub max_files: u32,
}

/// Whether something the caller may ask for is asked for.
///
/// Kept apart from [`ContainerSpec`] because they come in a bunch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, named as in the interfaces they come from"
)]
pub struct Switches {
    /// A terminal instead of pipes.
    pub terminal: bool,
    /// Keep the input open.
    pub stdin: bool,
    /// The first client's end of input is the container's.
    pub stdin_once: bool,
    /// All capabilities, devices and paths.
    pub privileged: bool,
    /// No privileges by set-user-id programs.
    pub no_new_privileges: bool,
    /// The root file system refuses writes.
    pub readonly_root: bool,
    /// Leave the image's group file alone.
    pub strict_groups: bool,
    /// Remove it once it has ended.
    pub auto_remove: bool,
}

/// What a container is to be. Two requests with equal specs are one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Its name.
    pub metadata: ContainerMetadata,
    /// The image as the caller named it.
    pub image: String,
    /// The reference a user wrote, where the caller resolved it before.
    pub user_image: String,
    /// In place of the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's command.
    pub arguments: Vec<String>,
    /// Added to the image's; later ones win.
    pub env: Vec<(String, Vec<u8>)>,
    /// In place of the image's.
    pub working_directory: Option<String>,
    /// `user[:group]`, in place of the image's.
    pub user: Option<String>,
    /// Groups besides the user's.
    pub supplemental_groups: Vec<u32>,
    /// More of them, by their names in the image's group file.
    #[serde(default)]
    pub group_names: Vec<String>,
    /// Mounts.
    pub mounts: Vec<MountSpec>,
    /// Devices.
    pub devices: Vec<DeviceSpec>,
    /// Devices by the names of the Container Device Interface.
    #[serde(default)]
    pub cdi_devices: Vec<String>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// The caller's annotations; never read for control.
    pub annotations: BTreeMap<String, String>,
    /// Its log.
    pub log: LogSpec,
    /// Rows and columns of the terminal.
    pub terminal_size: Option<(u16, u16)>,
    /// What it may use.
    pub limits: Limits,
    /// Preference of the OOM killer.
    pub oom_score_adj: Option<i32>,
    /// Capabilities beside the default ones.
    pub capabilities: CapabilityPlan,
    /// Seccomp filter.
    pub seccomp: SeccompSpec,
    /// AppArmor profile.
    #[serde(default)]
    pub apparmor: ApparmorSpec,
    /// SELinux label of its processes; what it leaves open is its sandbox's.
    #[serde(default)]
    pub selinux: LabelWish,
    /// In place of the default masked paths.
    pub masked_paths: Option<Vec<String>>,
    /// In place of the default read-only paths.
    pub readonly_paths: Option<Vec<String>>,
    /// Resource limits of its processes.
    pub rlimits: Vec<Rlimit>,
    /// Whose PID namespace it is in; `None`, or the sandbox's: as the sandbox says.
    #[serde(default)]
    pub pid: Option<NamespaceScope>,
    /// The container of the same sandbox whose PID namespace it is in, as the caller named it.
    #[serde(default)]
    pub pid_target: Option<String>,
    /// Namespaces of the host that it says it is in; its sandbox decides.
    #[serde(default)]
    pub host_namespaces: Vec<HostNamespace>,
    /// What it says about its users.
    #[serde(default)]
    pub user_namespace: UserNamespaceWish,
    /// Ports the caller says it listens on; shown, not published.
    pub exposed_ports: Vec<String>,
    /// Signal that asks it to end; `None`: the image's, else SIGTERM.
    pub stop_signal: Option<i32>,
    /// How long a stop waits before SIGKILL, where the caller does not say.
    pub stop_timeout: Duration,
    /// Switches.
    pub switches: Switches,
    /// What becomes of it when it has ended (a person's container).
    #[serde(default)]
    pub restart: RestartPolicy,
}

impl ContainerSpec {
    /// Returns the name of its image: as a user wrote it, where that is known.
    #[must_use]
    pub fn image_name(&self) -> &str {
        match self.user_image.as_str() {
            "" => &self.image,
            name => name,
        }
    }
}

/// A container's facts: written before anything of it is made, never changed
/// (but for the limits, which `update_resources` may replace, and the wish).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Its id.
    pub id: ContainerId,
    /// Its sandbox.
    pub sandbox: SandboxId,
    /// What was asked for.
    pub spec: ContainerSpec,
    /// The image it runs.
    pub image: ImageId,
    /// The top of its layers.
    pub chain: Option<ChainId>,
    /// Images whose content it sees beside its own, by destination.
    #[serde(default)]
    pub image_mounts: BTreeMap<String, MountedImage>,
    /// Directories that its image wants to be volumes.
    #[serde(default)]
    pub own_volumes: Vec<String>,
    /// What its devices bring along.
    #[serde(default)]
    pub extras: Extras,
    /// The container whose PID namespace it is in, where that is neither its own nor its sandbox's.
    #[serde(default)]
    pub pid_of: Option<ContainerId>,
    /// Its SELinux labels.
    #[serde(default)]
    pub selinux: Option<Labels>,
    /// What the image says; the image itself may be gone.
    pub defaults: ImageDefaults,
    /// Signal that asks it to end.
    pub stop_signal: i32,
    /// Its cgroup.
    pub cgroup: CgroupPath,
    /// Absolute path of its log; `None`: no log.
    pub log_path: Option<PathBuf>,
    /// When it was created.
    pub created_at: Timestamp,
    /// What a person last asked of it.
    #[serde(default)]
    pub wish: Wish,
}

impl ContainerRecord {
    /// Returns the mounts it asks for, and those that its devices bring along.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = &MountSpec> {
        self.spec.mounts.iter().chain(&self.extras.mounts)
    }

    /// Returns the groups it asks for, and those that its devices bring along.
    pub(crate) fn groups(&self) -> Vec<u32> {
        let all = self.spec.supplemental_groups.iter();
        all.chain(&self.extras.groups).copied().collect()
    }

    /// Returns the SELinux label of the files it sees.
    pub(crate) fn mount_label(&self) -> Option<String> {
        self.selinux.as_ref()?.mount.clone()
    }

    /// Says whether it was made from an image, or sees its content.
    pub(crate) fn uses(&self, image: &ImageId) -> bool {
        self.image == *image
            || self
                .image_mounts
                .values()
                .any(|mount| mount.image == *image)
    }
}

/// An image mounted in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountedImage {
    /// The image.
    pub image: ImageId,
    /// The top of its layers.
    pub chain: Option<ChainId>,
}

impl Record for ContainerRecord {
    const TABLE: &'static str = "containers";
    const VERSION: u32 = 1;
}

/// The user a container's processes run as.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
}

/// A container's state as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerStateRecord {
    /// Where it is in its life.
    pub state: ContainerState,
    /// Who it runs as; `None` until it was set up.
    pub user: Option<ContainerUser>,
    /// How often it was started by itself since it was last started by hand.
    #[serde(default)]
    pub restarts: u32,
}

impl Record for ContainerStateRecord {
    const TABLE: &'static str = "container_states";
    const VERSION: u32 = 1;
}
