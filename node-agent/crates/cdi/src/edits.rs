//! What a container gets for its devices.

use std::path::PathBuf;

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
}

impl Edits {
    /// Adds what another device asks for.
    pub(crate) fn add(&mut self, other: &Self) {
        self.env.extend_from_slice(&other.env);
        self.devices.extend_from_slice(&other.devices);
        self.mounts.extend_from_slice(&other.mounts);
        let new = other.groups.iter().filter(|group| **group != 0);
        self.groups.extend(new);
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
