//! Reading the limits in force back.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::{Limits, weight};
use crate::error::CgroupError;
use crate::tree::Inner;
use crate::{CgroupPath, Version, file};

/// Returns the limits in force. A value whose controller is not enabled is `None`.
pub(crate) fn actual(tree: &Inner, path: &CgroupPath) -> Result<Limits, CgroupError> {
    let reader = Reader { tree, path };
    match tree.version() {
        Version::V1 => reader.v1(),
        Version::V2 => reader.v2(),
    }
}

/// Returns the limits in force, told to somebody who asked for `asked`.
pub(crate) fn in_force(
    tree: &Inner,
    path: &CgroupPath,
    asked: &Limits,
) -> Result<Limits, CgroupError> {
    let mut limits = actual(tree, path)?;
    limits.unified = super::apply::by_name(tree, path, asked);
    Ok(limits.told_to(asked))
}

impl Limits {
    /// Puts a reading into the words of `asked`.
    fn told_to(self, asked: &Self) -> Self {
        let told = |value: Option<i64>, asked: Option<i64>| match value {
            None | Some(-1) => asked.filter(|asked| *asked < 0),
            limit => limit,
        };
        let weight = |shares: Option<u64>| shares.map(weight::weight_of_shares);
        let cpu_quota = told(self.cpu_quota, asked.cpu_quota);
        let limited = cpu_quota.is_some_and(|quota| quota > 0);
        Self {
            // Several shares have one weight; it stands for those that were asked for.
            cpu_shares: asked
                .cpu_shares
                .filter(|_| weight(asked.cpu_shares) == weight(self.cpu_shares))
                .or(self.cpu_shares),
            cpu_quota,
            cpu_period: self
                .cpu_period
                .filter(|_| limited || asked.cpu_period.is_some()),
            memory: told(self.memory, asked.memory),
            memory_swap: told(self.memory_swap, asked.memory_swap),
            pids: told(self.pids, asked.pids),
            ..self
        }
    }
}

/// The value by which v1 says "no limit": the largest page-aligned signed number.
const NO_LIMIT_V1: u64 = 0x7FFF_FFFF_FFFF_F000;

/// Returns -1 for no limit, else the bytes.
pub(crate) fn signed(limit: Option<u64>) -> i64 {
    limit
        .filter(|bytes| *bytes < NO_LIMIT_V1)
        .and_then(|bytes| i64::try_from(bytes).ok())
        .unwrap_or(-1)
}

struct Reader<'a> {
    tree: &'a Inner,
    path: &'a CgroupPath,
}

impl Reader<'_> {
    fn text(&self, controller: &str, name: &'static str) -> Result<Option<String>, CgroupError> {
        let Some(hierarchy) = self.tree.find(controller) else {
            return Ok(None);
        };
        let failed = |source| CgroupError::Read {
            path: self.path.clone(),
            file: name,
            source,
        };
        let directory = match hierarchy.directory(self.path) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => {
                return Err(CgroupError::NotFound {
                    path: self.path.clone(),
                });
            }
            Err(errno) => return Err(failed(errno)),
        };
        file::if_present(file::read(directory.as_fd(), name)).map_err(failed)
    }

    fn trimmed(&self, controller: &str, name: &'static str) -> Result<Option<String>, CgroupError> {
        let text = self.text(controller, name)?;
        Ok(text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()))
    }

    /// Reads a number; `max` is -1.
    fn number(&self, controller: &str, name: &'static str) -> Result<Option<i64>, CgroupError> {
        Ok(self
            .trimmed(controller, name)?
            .map(|text| match text.parse::<i64>() {
                Ok(number) if number < 0 => -1,
                Ok(number) => signed(u64::try_from(number).ok()),
                Err(_) => -1,
            }))
    }

    fn hugepages(&self, suffix: &str) -> Result<BTreeMap<String, u64>, CgroupError> {
        let mut found = BTreeMap::new();
        let Some(hierarchy) = self.tree.find("hugetlb") else {
            return Ok(found);
        };
        for size in self.tree.machine().page_sizes() {
            let name = format!("{}/hugetlb.{size}.{suffix}", self.path.relative());
            let value = file::if_present(file::read_number(hierarchy.root(), &name));
            let value = value.map_err(|source| CgroupError::Read {
                path: self.path.clone(),
                file: "hugetlb limit",
                source,
            })?;
            if let Some(Some(bytes)) = value
                && signed(Some(bytes)) >= 0
            {
                found.insert(size.clone(), bytes);
            }
        }
        Ok(found)
    }

    fn v1(&self) -> Result<Limits, CgroupError> {
        Ok(Limits {
            cpu_shares: self
                .number("cpu", "cpu.shares")?
                .and_then(|n| n.try_into().ok()),
            cpu_quota: self.number("cpu", "cpu.cfs_quota_us")?,
            cpu_period: self
                .number("cpu", "cpu.cfs_period_us")?
                .and_then(|n| n.try_into().ok()),
            cpuset_cpus: self.trimmed("cpuset", "cpuset.cpus")?,
            cpuset_mems: self.trimmed("cpuset", "cpuset.mems")?,
            memory: self.number("memory", "memory.limit_in_bytes")?,
            memory_swap: self.number("memory", "memory.memsw.limit_in_bytes")?,
            pids: self.number("pids", "pids.max")?,
            hugepages: self.hugepages("limit_in_bytes")?,
            unified: BTreeMap::new(),
        })
    }

    fn v2(&self) -> Result<Limits, CgroupError> {
        let weight = self
            .number("cpu", "cpu.weight")?
            .and_then(|n| n.try_into().ok());
        let max = self.trimmed("cpu", "cpu.max")?;
        let max = max.as_deref().and_then(|text| text.split_once(' '));
        let memory = self.number("memory", "memory.max")?;
        let swap = self.number("memory", "memory.swap.max")?;
        Ok(Limits {
            cpu_shares: weight.map(weight::shares_of_weight),
            cpu_quota: max.map(|(quota, _)| quota.parse().unwrap_or(-1)),
            cpu_period: max.and_then(|(_, period)| period.parse().ok()),
            cpuset_cpus: self.trimmed("cpuset", "cpuset.cpus")?,
            cpuset_mems: self.trimmed("cpuset", "cpuset.mems")?,
            memory,
            memory_swap: together(memory, swap),
            pids: self.number("pids", "pids.max")?,
            hugepages: self.hugepages("max")?,
            unified: BTreeMap::new(),
        })
    }
}

/// Adds v2's two limits to the one that docker and CRI speak of.
fn together(memory: Option<i64>, swap: Option<i64>) -> Option<i64> {
    match (memory, swap?) {
        (Some(memory), swap) if memory >= 0 && swap >= 0 => Some(memory.saturating_add(swap)),
        _ => Some(-1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_reads_as_minus_one() {
        assert_eq!(signed(None), -1);
        assert_eq!(signed(Some(NO_LIMIT_V1)), -1);
        assert_eq!(signed(Some(4096)), 4096);
    }

    #[test]
    fn what_limits_nothing_is_told_only_to_who_asked_for_it() {
        let read = Limits {
            cpu_shares: Some(shares_read_for(512)),
            cpu_quota: Some(-1),
            cpu_period: Some(100_000),
            memory: Some(-1),
            memory_swap: Some(-1),
            pids: Some(7),
            ..Limits::default()
        };
        let asked = Limits {
            cpu_shares: Some(512),
            memory: Some(-1),
            ..Limits::default()
        };
        let told = read.clone().told_to(&asked);
        let expected = Limits {
            cpu_shares: Some(512),
            memory: Some(-1),
            pids: Some(7),
            ..Limits::default()
        };
        assert_eq!(told, expected);
        // Somebody else has changed them meanwhile.
        let changed = Limits {
            cpu_shares: Some(4096),
            memory: Some(1 << 20),
            cpu_quota: Some(5_000),
            ..read
        };
        let told = changed.told_to(&asked);
        assert_eq!(
            (
                told.cpu_shares,
                told.memory,
                told.cpu_quota,
                told.cpu_period
            ),
            (Some(4096), Some(1 << 20), Some(5_000), Some(100_000))
        );
    }

    fn shares_read_for(shares: u64) -> u64 {
        weight::shares_of_weight(weight::weight_of_shares(shares))
    }

    #[test]
    fn swap_is_reported_with_memory() {
        assert_eq!(together(Some(100), Some(50)), Some(150));
        assert_eq!(together(Some(100), Some(-1)), Some(-1));
        assert_eq!(together(Some(-1), Some(50)), Some(-1));
        assert_eq!(together(Some(100), None), None);
    }
}
