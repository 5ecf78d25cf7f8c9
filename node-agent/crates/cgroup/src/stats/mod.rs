//! What a cgroup used: one open and one read a file.

use std::time::SystemTime;

use rustix::io::Errno;

use crate::error::CgroupError;
use crate::limits::signed;
use crate::tree::Inner;
use crate::{CgroupPath, Version, file};

/// What a cgroup used up to a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// When it was read.
    pub at: SystemTime,
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes.
    pub pids: PidsStats,
}

/// Processor time since the cgroup was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
}

/// Memory in use now, and counters since the cgroup was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryStats {
    /// Bytes charged, page cache included.
    pub usage: u64,
    /// Bytes that cannot easily be taken back: usage without inactive page cache.
    pub working_set: u64,
    /// Bytes of anonymous memory.
    pub rss: u64,
    /// Bytes of page cache.
    pub cache: u64,
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
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// At most.
    pub limit: Option<u64>,
}

/// Reads everything.
pub(crate) fn read(tree: &Inner, path: &CgroupPath) -> Result<Stats, CgroupError> {
    if !tree.hierarchies()[0].contains(path) {
        return Err(CgroupError::NotFound { path: path.clone() });
    }
    let reader = Reader { tree, path };
    let (cpu, memory) = match tree.version() {
        Version::V1 => (reader.cpu_v1()?, reader.memory_v1()?),
        Version::V2 => (reader.cpu_v2()?, reader.memory_v2()?),
    };
    Ok(Stats {
        at: SystemTime::now(),
        cpu,
        memory,
        pids: PidsStats {
            current: reader.number("pids", "pids.current")?.unwrap_or(0),
            limit: reader.number("pids", "pids.max")?,
        },
    })
}

struct Reader<'a> {
    tree: &'a Inner,
    path: &'a CgroupPath,
}

impl Reader<'_> {
    /// Reads a file; one whose controller is not there reads as empty.
    fn text(&self, controller: &str, name: &'static str) -> Result<String, CgroupError> {
        let Some(hierarchy) = self.tree.find(controller) else {
            return Ok(String::new());
        };
        let relative = format!("{}/{name}", self.path.relative());
        match file::if_present(file::read(hierarchy.root(), &relative)) {
            Ok(text) => Ok(text.unwrap_or_default()),
            Err(Errno::NODEV) => Err(CgroupError::NotFound {
                path: self.path.clone(),
            }),
            Err(source) => Err(CgroupError::Read {
                path: self.path.clone(),
                file: name,
                source,
            }),
        }
    }

    /// Reads one number; `max`, or no file, is `None`.
    fn number(&self, controller: &str, name: &'static str) -> Result<Option<u64>, CgroupError> {
        Ok(self.text(controller, name)?.trim().parse().ok())
    }

    fn cpu_v1(&self) -> Result<CpuStats, CgroupError> {
        let throttling = self.text("cpu", "cpu.stat")?;
        let count = |key| file::value_of(&throttling, key).unwrap_or(0);
        Ok(CpuStats {
            usage_ns: self.number("cpuacct", "cpuacct.usage")?.unwrap_or(0),
            user_ns: self.number("cpuacct", "cpuacct.usage_user")?.unwrap_or(0),
            system_ns: self.number("cpuacct", "cpuacct.usage_sys")?.unwrap_or(0),
            periods: count("nr_periods"),
            throttled_periods: count("nr_throttled"),
            throttled_ns: count("throttled_time"),
        })
    }

    fn cpu_v2(&self) -> Result<CpuStats, CgroupError> {
        let stat = self.text("cpu", "cpu.stat")?;
        let count = |key| file::value_of(&stat, key).unwrap_or(0);
        Ok(CpuStats {
            usage_ns: count("usage_usec").saturating_mul(1_000),
            user_ns: count("user_usec").saturating_mul(1_000),
            system_ns: count("system_usec").saturating_mul(1_000),
            periods: count("nr_periods"),
            throttled_periods: count("nr_throttled"),
            throttled_ns: count("throttled_usec").saturating_mul(1_000),
        })
    }

    fn memory_v1(&self) -> Result<MemoryStats, CgroupError> {
        let usage = self.number("memory", "memory.usage_in_bytes")?.unwrap_or(0);
        let oom = self.text("memory", "memory.oom_control")?;
        Ok(memory_of_v1(
            usage,
            &self.text("memory", "memory.stat")?,
            &oom,
        ))
    }

    fn memory_v2(&self) -> Result<MemoryStats, CgroupError> {
        let usage = self.number("memory", "memory.current")?.unwrap_or(0);
        let stat = self.text("memory", "memory.stat")?;
        let events = self.text("memory", "memory.events")?;
        let count = |key| file::value_of(&stat, key).unwrap_or(0);
        Ok(MemoryStats {
            usage,
            working_set: usage.saturating_sub(count("inactive_file")),
            rss: count("anon"),
            cache: count("file"),
            page_faults: count("pgfault"),
            major_page_faults: count("pgmajfault"),
            limit: self.number("memory", "memory.max")?,
            swap_usage: self.number("memory", "memory.swap.current")?.unwrap_or(0),
            swap_limit: self.number("memory", "memory.swap.max")?,
            oom_kills: file::value_of(&events, "oom_kill").unwrap_or(0),
        })
    }
}

/// Puts v1's files together. `total_` values include the levels below, as v2's do.
fn memory_of_v1(usage: u64, stat: &str, oom: &str) -> MemoryStats {
    let count = |key| file::value_of(stat, key).unwrap_or(0);
    let limit = |key| u64::try_from(signed(file::value_of(stat, key))).ok();
    let memory = limit("hierarchical_memory_limit");
    let with_swap = limit("hierarchical_memsw_limit");
    MemoryStats {
        usage,
        working_set: usage.saturating_sub(count("total_inactive_file")),
        rss: count("total_rss"),
        cache: count("total_cache"),
        page_faults: count("total_pgfault"),
        major_page_faults: count("total_pgmajfault"),
        limit: memory,
        swap_usage: count("total_swap"),
        swap_limit: with_swap
            .zip(memory)
            .map(|(both, memory)| both.saturating_sub(memory)),
        oom_kills: file::value_of(oom, "oom_kill").unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_files_become_numbers() {
        let stat = "cache 1\ninactive_file 1\nhierarchical_memory_limit 100\nhierarchical_memsw_limit 150\n\
                    total_cache 40\ntotal_rss 20\ntotal_swap 3\ntotal_pgfault 9\ntotal_pgmajfault 2\ntotal_inactive_file 15\n";
        let memory = memory_of_v1(60, stat, "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
        assert_eq!((memory.working_set, memory.rss, memory.cache), (45, 20, 40));
        assert_eq!(
            (memory.limit, memory.swap_limit, memory.swap_usage),
            (Some(100), Some(50), 3)
        );
        assert_eq!(
            (
                memory.page_faults,
                memory.major_page_faults,
                memory.oom_kills
            ),
            (9, 2, 2)
        );
    }

    #[test]
    fn no_limit_of_v1_is_none() {
        let memory = memory_of_v1(0, "hierarchical_memory_limit 9223372036854771712\n", "");
        assert_eq!((memory.limit, memory.swap_limit), (None, None));
        assert_eq!(memory.working_set, 0);
    }
}
