//! What a cgroup used: a [`Meter`] keeps its files open, because opening one costs ten times as
//! much as reading it.

mod hugetlb;
mod meter;
mod parse;

use std::time::SystemTime;

pub use hugetlb::HugetlbStats;
pub(crate) use hugetlb::hugetlb;
pub use meter::Meter;

/// What a cgroup used up to a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// When it was read.
    pub at: SystemTime,
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes.
    pub pids: PidsStats,
    /// Input and output.
    pub io: IoStats,
}

/// Processor time since the cgroup was made.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CpuStats {
    /// Nanoseconds in all.
    pub usage_ns: u64,
    /// Nanoseconds in user mode.
    pub user_ns: u64,
    /// Nanoseconds in the kernel.
    pub system_ns: u64,
    /// Periods of the quota that passed.
    pub periods: u64,
    /// Periods in which it was throttled.
    pub throttled_periods: u64,
    /// Nanoseconds it was throttled for.
    pub throttled_ns: u64,
    /// Waiting for processors; `None` where the kernel does not tell.
    pub pressure: Option<Pressure>,
}

/// Memory in use now, and counters since the cgroup was made.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MemoryStats {
    /// Bytes charged, page cache included.
    pub usage: u64,
    /// Bytes that cannot easily be taken back: usage without inactive page cache.
    pub working_set: u64,
    /// Bytes of anonymous memory.
    pub rss: u64,
    /// Bytes of page cache.
    pub cache: u64,
    /// Bytes of page cache that was used lately.
    pub active_file: u64,
    /// Bytes of page cache that was not.
    pub inactive_file: u64,
    /// Bytes of files mapped into processes.
    pub mapped_file: u64,
    /// Bytes of the kernel's own for it.
    pub kernel: u64,
    /// Most bytes charged at any time; `None` where the kernel does not tell.
    pub max_usage: Option<u64>,
    /// How often it was at its limit.
    pub failures: u64,
    /// Page faults.
    pub page_faults: u64,
    /// Page faults that had to read from a disk.
    pub major_page_faults: u64,
    /// Bytes it may use, the levels above taken into account on v1.
    pub limit: Option<u64>,
    /// Bytes in swap.
    pub swap_usage: u64,
    /// Bytes of swap it may use.
    pub swap_limit: Option<u64>,
    /// Processes that the kernel killed here for want of memory.
    pub oom_kills: u64,
    /// Waiting for memory; `None` where the kernel does not tell.
    pub pressure: Option<Pressure>,
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PidsStats {
    /// Processes now, those of cgroups below left out.
    pub processes: u64,
    /// Threads now.
    pub current: u64,
    /// Threads at most.
    pub limit: Option<u64>,
}

/// Input and output since the cgroup was made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct IoStats {
    /// By device; those that were not used are left out.
    pub devices: Vec<DeviceIo>,
    /// Waiting for devices; `None` where the kernel does not tell.
    pub pressure: Option<Pressure>,
}

/// Input and output of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceIo {
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// How long work had to wait for a resource (pressure stall information).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pressure {
    /// While some of it could not run.
    pub some: Stall,
    /// While none of it could.
    pub full: Stall,
}

/// Waiting of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stall {
    /// Nanoseconds in all.
    pub total_ns: u64,
    /// Percent of the last ten seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last five minutes.
    pub avg300: f64,
}
