//! What a container should be, in typed form; the words of no particular client.

use std::collections::BTreeMap;

use agent_types::HookStage;
use serde::{Deserialize, Serialize};

use crate::MountPlan;

/// What an image says about running it. Hostile input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageDefaults {
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// First part of the arguments.
    pub entrypoint: Vec<String>,
    /// Second part of the arguments.
    pub command: Vec<String>,
    /// Empty for `/`.
    pub working_directory: String,
    /// `user[:group]`; empty for root.
    pub user: String,
}

/// Capabilities beside the default set. A capability both added and dropped is dropped; `ALL` in
/// either list comes before the single names of both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CapabilityPlan {
    /// Names with or without `CAP_`, or `ALL`.
    pub add: Vec<String>,
    /// Names with or without `CAP_`, or `ALL`.
    pub drop: Vec<String>,
    /// To be kept by programs of other users than root.
    pub ambient: Vec<String>,
}

/// Where a namespace comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// One of the container's own.
    #[default]
    New,
    /// The sandbox's, which the shim holds; without a path in the specification.
    Sandbox,
    /// The one at this path, for external runtimes.
    Join(String),
    /// The host's.
    Host,
}

/// All namespaces but mount, which is always new.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    /// Network.
    pub network: Namespace,
    /// System V and POSIX message queues, shared memory.
    pub ipc: Namespace,
    /// Host name.
    pub uts: Namespace,
    /// Processes.
    pub pid: Namespace,
    /// View of the cgroup tree.
    pub cgroup: Namespace,
}

/// One resource limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `nofile` or `RLIMIT_NOFILE`.
    pub name: String,
    /// What is enforced; `u64::MAX` is no limit.
    pub soft: u64,
    /// What the soft limit may be raised to.
    pub hard: u64,
}

/// One device node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicePlan {
    /// Where it appears in the container.
    pub path: String,
    /// `c`, `b` or `p`.
    pub kind: char,
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What may be done with it: of `r`, `w` and `m`.
    pub access: String,
}

/// A program run at a point of the container's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookPlan {
    /// When.
    pub stage: HookStage,
    /// The program, an absolute path.
    pub path: String,
    /// Its arguments, its own name the first; empty: its path alone.
    pub args: Vec<String>,
    /// Its environment, `NAME=value` each.
    pub env: Vec<String>,
    /// Seconds that it may take; `None`: 10.
    pub timeout: Option<u32>,
}

/// Everything a container is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own that a caller sets; there is no state between them"
)]
pub struct ContainerPlan {
    /// Of the container.
    pub id: String,
    /// Empty: none is set.
    pub hostname: String,
    /// Empty: none is set.
    pub domainname: String,
    /// What the image says.
    pub image: ImageDefaults,
    /// Replaces the image's entrypoint *and* command; an empty list resets both.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command, if not empty.
    pub arguments: Vec<String>,
    /// Added to the image's, later names winning. Values must be UTF-8.
    pub env: Vec<(String, Vec<u8>)>,
    /// Replaces the image's.
    pub working_directory: Option<String>,
    /// `user[:group]`; replaces the image's.
    pub user: Option<String>,
    /// Further groups by number.
    pub supplemental_groups: Vec<u32>,
    /// Gives it a terminal.
    pub terminal: bool,
    /// Rows and columns of the terminal.
    pub terminal_size: Option<(u16, u16)>,
    /// Lifts nearly every confinement.
    pub privileged: bool,
    /// Beside the default set; without meaning when privileged.
    pub capabilities: CapabilityPlan,
    /// The highest capability the kernel knows; 0 for all that this program knows.
    pub last_capability: u8,
    /// No program it runs can gain privileges.
    pub no_new_privileges: bool,
    /// AppArmor profile that its programs are confined by.
    pub apparmor_profile: Option<String>,
    /// SELinux label of its processes.
    pub selinux_label: Option<String>,
    /// SELinux label of the files it sees.
    pub mount_label: Option<String>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// How readily the kernel kills it.
    pub oom_score_adj: Option<i32>,
    /// Where its namespaces come from.
    pub namespaces: Namespaces,
    /// Sysctls of its own namespaces (a sandbox's go to the shim at launch).
    pub sysctls: BTreeMap<String, String>,
    /// Its root is read-only.
    pub readonly_root: bool,
    /// Beside the default mounts, replacing those with the same destination.
    pub mounts: Vec<MountPlan>,
    /// Size of `/dev/shm` in bytes; 64 MiB if not given.
    pub shm_size: Option<u64>,
    /// Replaces the default list.
    pub masked_paths: Option<Vec<String>>,
    /// Replaces the default list.
    pub readonly_paths: Option<Vec<String>>,
    /// Added to the default list of masked paths: what only exists on some machines, such as
    /// each processor's `thermal_throttle`.
    pub machine_masked_paths: Vec<String>,
    /// Beside the default devices.
    pub devices: Vec<DevicePlan>,
    /// Beside the default rules, such as `c 1:3 rwm`.
    pub device_rules: Vec<String>,
    /// Path of its cgroup.
    pub cgroup_path: String,
    /// Programs run at points of its life.
    pub hooks: Vec<HookPlan>,
    /// Carried, never acted upon.
    pub annotations: BTreeMap<String, String>,
}
