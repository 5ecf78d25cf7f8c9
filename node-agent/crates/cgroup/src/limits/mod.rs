//! What a container may use, in one vocabulary for both versions of cgroups.

mod actual;
mod apply;
mod check;
mod cpuset;
mod weight;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use actual::{actual, in_force, signed};
pub(crate) use apply::{apply, update};
pub(crate) use check::{Machine, check};
pub(crate) use cpuset::parse as ranges;
pub(crate) use weight::weight_of_shares;

/// The least memory a person's container may be given, in bytes: a runtime needs it to start anything.
pub const MINIMUM_MEMORY_LOCAL: u64 = 6 * 1024 * 1024;

/// Limits of one cgroup. `None` leaves a value as it is; -1 lifts the limit.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Relative weight, 2 to 262144; 1024 is one share. Converted to a weight on v2.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU time in each period.
    pub cpu_quota: Option<i64>,
    /// Length of the period in microseconds.
    pub cpu_period: Option<u64>,
    /// Processors, such as `0-3,6`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, such as `0`.
    pub cpuset_mems: Option<String>,
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together, as docker and CRI count it.
    pub memory_swap: Option<i64>,
    /// Processes and threads.
    pub pids: Option<i64>,
    /// Bytes of huge pages by page size, such as `2MB`.
    pub hugepages: BTreeMap<String, u64>,
    /// Interface files of v2 and what to write to them.
    pub unified: BTreeMap<String, String>,
}

impl Limits {
    /// Says whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a limit was refused before anything was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Outside the range the kernel, or the caller, accepts.
    #[error("{field} is {value}, outside {range}")]
    Range {
        /// The field of [`Limits`].
        field: &'static str,
        /// The refused value.
        value: i128,
        /// What is accepted.
        range: &'static str,
    },
    /// Less than a container needs to start.
    #[error("memory is {value} bytes, less than the minimum of {minimum}")]
    MemoryTooSmall {
        /// The refused value.
        value: i64,
        /// The least accepted.
        minimum: u64,
    },
    /// Memory and swap together are less than memory alone.
    #[error("memory_swap is {swap} bytes, less than memory with {memory}")]
    SwapBelowMemory {
        /// Memory and swap.
        swap: i64,
        /// Memory alone.
        memory: i64,
    },
    /// Memory and swap were given without memory.
    #[error("memory_swap is {swap} bytes, but memory has no limit")]
    SwapWithoutMemory {
        /// Memory and swap.
        swap: i64,
    },
    /// Not a list of numbers and ranges.
    #[error("{field} {value:?} is not a list such as 0-3,6")]
    List {
        /// The field of [`Limits`].
        field: &'static str,
        /// The refused text.
        value: String,
    },
    /// Names a processor or memory node that is not there.
    #[error("{field} {value:?} names {missing}, which is not online (there are {online})")]
    Offline {
        /// The field of [`Limits`].
        field: &'static str,
        /// The refused text.
        value: String,
        /// The first number that is not online.
        missing: u32,
        /// What is online.
        online: String,
    },
    /// Not a page size of this machine.
    #[error("hugepages {size:?} is not a page size of this machine")]
    PageSize {
        /// The refused size.
        size: String,
    },
    /// Not an interface file that a container's limits may touch.
    #[error("unified {file:?} is not a file that can be set")]
    UnifiedFile {
        /// The refused name.
        file: String,
    },
    /// A value with a line feed or NUL.
    #[error("unified {file} has the value {value:?}")]
    UnifiedValue {
        /// The interface file.
        file: String,
        /// The refused value.
        value: String,
    },
    /// The machine's cgroups cannot hold this limit.
    #[error("{field} cannot be limited: {missing} is missing on this machine")]
    Unsupported {
        /// The field of [`Limits`].
        field: &'static str,
        /// The controller, file or version that is missing.
        missing: &'static str,
    },
}

impl agent_types::Classify for LimitError {
    fn kind(&self) -> agent_types::ErrorKind {
        match self {
            Self::Unsupported { .. } => agent_types::ErrorKind::FailedPrecondition,
            Self::Range { .. }
            | Self::MemoryTooSmall { .. }
            | Self::SwapBelowMemory { .. }
            | Self::SwapWithoutMemory { .. }
            | Self::List { .. }
            | Self::Offline { .. }
            | Self::PageSize { .. }
            | Self::UnifiedFile { .. }
            | Self::UnifiedValue { .. } => agent_types::ErrorKind::InvalidArgument,
        }
    }
}
