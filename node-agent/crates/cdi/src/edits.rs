//! What a container gets for its devices.

use std::path::PathBuf;

use agent_types::HookStage;

/// What a container gets: the sum of what its devices, and their specifications, ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// Environment variables; later ones win.
    pub env: Vec<(String, String)>,
    /// Device nodes.
    pub devices: Vec<DeviceNode>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Further groups of its processes.
    pub groups: Vec<u32>,
    /// Programs run at points of its life, in this order at each.
    pub hooks: Vec<Hook>,
}

impl Edits {
    /// Adds what another device asks for.
    pub(crate) fn add(&mut self, other: &Self) {
        self.env.extend_from_slice(&other.env);
        self.devices.extend_from_slice(&other.devices);
        self.mounts.extend_from_slice(&other.mounts);
        let new = other.groups.iter().filter(|group| **group != 0);
        self.groups.extend(new);
        self.hooks.extend_from_slice(&other.hooks);
    }
}

/// A device node; what is not given is as on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNode {
    /// Where it appears.
    pub path: String,
    /// Where it is on the host.
    pub host_path: PathBuf,
    /// Type, major and minor number.
    pub number: Option<(char, i64, i64)>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// What may be done with it: of `r`, `w` and `m`.
    pub access: String,
}

/// A program run at a point of the container's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When.
    pub stage: HookStage,
    /// The program, an absolute path.
    pub path: String,
    /// Its arguments, its own name the first; empty: its path alone.
    pub args: Vec<String>,
    /// Its environment, `NAME=value` each.
    pub env: Vec<String>,
    /// Seconds that it may take; `None`: not said.
    pub timeout: Option<u32>,
}

/// A path of the host's that the container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is on the host.
    pub host_path: PathBuf,
    /// Where it appears.
    pub container_path: String,
    /// Options of mount(8).
    pub options: Vec<String>,
}
