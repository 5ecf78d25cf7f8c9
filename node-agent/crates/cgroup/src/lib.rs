//! Control groups: making them, limiting them, reading them, emptying them, on v1 and on v2.
//!
//! Owns: which hierarchies the machine has, every directory below the configured parent, the
//! meaning of each limit on either version, device rules, and how a cgroup is killed and removed.
//!
//! Does not: put a process into a cgroup. The child does that itself through the directories of
//! [`Cgroup::attach_directories`], because anybody else writing its pid waits for an RCU grace
//! period (about 10 ms). Knows nothing of sandboxes beyond the id that names a directory.
//!
//! Directories are made here, or by systemd where it is configured as the driver (`systemd`).
//!
//! The crate `cgroups-rs` finds the mounts and writes limits through its controllers. Directories,
//! statistics, device rules and killing are done here on kept directory descriptors: its
//! `Cgroup::load` reads the mount table again for every cgroup, its device rules do not exist on v2,
//! and its statistics open a file for each number.
//!
//! Start reading at [`CgroupTree`], then [`Cgroup`].
#![forbid(unsafe_code)]

mod cgroup;
mod claim;
mod create;
mod devices;
mod disks;
mod error;
mod file;
mod hierarchy;
mod kill;
mod level;
mod limits;
mod path;
mod place;
mod pod;
mod remove;
mod stats;
mod systemd;
mod tree;

pub use cgroup::Cgroup;
pub use claim::{Claim, ClaimError, StrayError};
pub use create::{Begun, Made};
pub use devices::{Access, DeviceKind, DeviceRule, DeviceRuleError, DeviceRules};
pub use error::{CgroupError, CreateError, OpenError, RemoveError, UpdateError};
pub use hierarchy::{Hierarchy, Version};
pub use limits::{LimitError, Limits, MINIMUM_MEMORY_LOCAL};
pub use path::{CgroupPath, PathError};
pub use place::{OwnCgroup, OwnProcesses};
pub use pod::{MadeLevel, PodCgroup};
pub use stats::{
    CpuStats, DeviceIo, HugetlbStats, IoStats, MemoryStats, Meter, PidsStats, Pressure, Stall,
    Stats,
};
pub use systemd::{Hold, SystemdError};
pub use tree::{CgroupTree, Config, Detection, Driver};
