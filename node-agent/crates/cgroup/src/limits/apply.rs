//! Writing limits, through the controllers of `cgroups-rs` where it has one that fits.

use std::collections::BTreeMap;

use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuset::CpuSetController;
use cgroups_rs::fs::error::Error as ControllerFailure;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;

use rustix::io::Errno;

use super::{Limits, actual, weight};
use crate::error::UpdateError;
use crate::systemd::of_limits;
use crate::tree::Inner;
use crate::{CgroupPath, Version, file};

/// Changes limits, or leaves all as they were.
///
/// The kernel has no transaction over several files, so the present values are read first and
/// written back when one of the new ones is refused.
pub(crate) fn update(tree: &Inner, path: &CgroupPath, limits: &Limits) -> Result<(), UpdateError> {
    super::check(limits, tree.machine(), 0)?;
    let mut before = actual(tree, path)?;
    before.unified = by_name(tree, path, limits);
    for size in limits.hugepages.keys() {
        // A reading leaves out what is not limited; put back it is the largest number.
        before.hugepages.entry(size.clone()).or_insert(u64::MAX);
    }
    let merged = limits.after(&before);
    super::check(&merged, tree.machine(), 0)?;
    let result = write(tree, path, limits, &before);
    if result.is_err() {
        let restore = before.only_those_of(limits);
        if let Err(error) = write(tree, path, &restore, limits) {
            tracing::warn!(path = path.as_str(), %error, "limits could not be put back after a refused update");
        }
    }
    result
}

/// Tells systemd, where it keeps limits of its own, and writes the files.
fn write(
    tree: &Inner,
    path: &CgroupPath,
    limits: &Limits,
    before: &Limits,
) -> Result<(), UpdateError> {
    if let Some(systemd) = tree.systemd() {
        let properties = of_limits(tree.version(), limits, before);
        systemd
            .set(path, &properties)
            .map_err(|source| UpdateError::Systemd {
                path: path.clone(),
                source,
            })?;
    }
    apply(tree, path, limits, before)
}

/// Reads the files that are written by name. One with several lines has no single value
/// that could be put back, and is left out.
pub(super) fn by_name(
    tree: &Inner,
    path: &CgroupPath,
    limits: &Limits,
) -> BTreeMap<String, String> {
    let root = tree.hierarchy("").root();
    let present = limits.unified.keys().filter_map(|name| {
        let text = file::read(root, &format!("{}/{name}", path.relative())).ok()?;
        let value = text.trim();
        let single = !value.is_empty() && !value.contains('\n');
        single.then(|| (name.clone(), value.to_owned()))
    });
    present.collect()
}

impl Limits {
    /// Returns the memory limits that hold once `self` is written over `before`: what must agree.
    fn after(&self, before: &Self) -> Self {
        Self {
            memory: self.memory.or(before.memory),
            memory_swap: self.memory_swap.or(before.memory_swap),
            ..self.clone()
        }
    }

    /// Returns the values of `self` for the fields that `changed` sets.
    fn only_those_of(self, changed: &Self) -> Self {
        let cpu = changed.cpu_quota.is_some() || changed.cpu_period.is_some();
        let memory = changed.memory.is_some() || changed.memory_swap.is_some();
        Self {
            cpu_shares: self.cpu_shares.filter(|_| changed.cpu_shares.is_some()),
            cpu_quota: self.cpu_quota.filter(|_| cpu),
            cpu_period: self.cpu_period.filter(|_| cpu),
            cpuset_cpus: self.cpuset_cpus.filter(|_| changed.cpuset_cpus.is_some()),
            cpuset_mems: self.cpuset_mems.filter(|_| changed.cpuset_mems.is_some()),
            memory: self.memory.filter(|_| memory),
            memory_swap: self.memory_swap.filter(|_| memory),
            pids: self.pids.filter(|_| changed.pids.is_some()),
            hugepages: retain_keys(self.hugepages, &changed.hugepages),
            unified: retain_keys(self.unified, &changed.unified),
        }
    }
}

fn retain_keys<V>(
    mut values: BTreeMap<String, V>,
    of: &BTreeMap<String, V>,
) -> BTreeMap<String, V> {
    values.retain(|key, _| of.contains_key(key));
    values
}

/// Writes `limits`, which were checked, over `before`.
pub(crate) fn apply(
    tree: &Inner,
    path: &CgroupPath,
    limits: &Limits,
    before: &Limits,
) -> Result<(), UpdateError> {
    let writer = Writer { tree, path };
    writer.memory(limits, before)?;
    writer.cpu(limits, before)?;
    writer.cpuset(limits)?;
    writer.pids(limits)?;
    writer.hugepages(limits)?;
    for (file, value) in &limits.unified {
        writer.file("unified", "", file, value)?;
    }
    Ok(())
}

struct Writer<'a> {
    tree: &'a Inner,
    path: &'a CgroupPath,
}

impl Writer<'_> {
    /// Returns the directory of this cgroup below `controller`'s mount point.
    fn directory(&self, controller: &str) -> std::path::PathBuf {
        self.tree.hierarchy(controller).absolute(self.path)
    }

    fn v2(&self) -> bool {
        self.tree.version() == Version::V2
    }

    /// Names the field and the value in a controller's failure.
    fn refused<T: ToString>(
        &self,
        field: &'static str,
        value: T,
    ) -> impl FnOnce(ControllerFailure) -> UpdateError + use<T> {
        let path = self.path.clone();
        move |source| UpdateError::Controller {
            field,
            value: value.to_string(),
            path,
            source: Box::new(source),
        }
    }

    fn file(
        &self,
        field: &'static str,
        controller: &str,
        name: &str,
        value: &str,
    ) -> Result<(), UpdateError> {
        let hierarchy = self.tree.hierarchy(controller);
        let name = format!("{}/{name}", self.path.relative());
        file::write(hierarchy.root(), &name, value).map_err(|source| UpdateError::File {
            field,
            value: value.to_owned(),
            path: self.path.clone(),
            source,
        })
    }

    fn memory(&self, limits: &Limits, before: &Limits) -> Result<(), UpdateError> {
        if limits.memory.is_none() && limits.memory_swap.is_none() {
            return Ok(());
        }
        let directory = self.directory("memory");
        let controller = MemController::new(directory.clone(), directory, self.v2());
        let set_memory = |memory| {
            controller
                .set_limit(memory)
                .map_err(self.refused("memory", memory))
        };
        let set_swap = |swap| {
            controller
                .set_memswap_limit(swap)
                .map_err(self.refused("memory_swap", swap))
        };
        match (limits.memory, limits.memory_swap) {
            (memory, swap) if self.v2() => {
                memory.map_or(Ok(()), set_memory)?;
                // v2 counts swap alone.
                let memory = memory.or(before.memory).unwrap_or(-1);
                swap.map_or(Ok(()), |swap| set_swap(swap_alone(swap, memory)))
            }
            // On v1 memory may at no moment exceed memory and swap.
            (Some(memory), Some(swap)) if grows_past(memory, before.memory_swap) => {
                set_swap(swap)?;
                set_memory(memory)
            }
            (memory, swap) => {
                memory.map_or(Ok(()), set_memory)?;
                swap.map_or(Ok(()), set_swap)
            }
        }
    }

    fn cpu(&self, limits: &Limits, before: &Limits) -> Result<(), UpdateError> {
        if limits.cpu_shares.is_none() && limits.cpu_quota.is_none() && limits.cpu_period.is_none()
        {
            return Ok(());
        }
        let directory = self.directory("cpu");
        let controller = CpuController::new(directory.clone(), directory, self.v2());
        if let Some(shares) = limits.cpu_shares {
            let value = match self.tree.version() {
                Version::V1 => weight::clamp_shares(shares),
                Version::V2 => weight::weight_of_shares(shares),
            };
            controller
                .set_shares(value)
                .map_err(self.refused("cpu_shares", shares))?;
        }
        match (limits.cpu_quota, limits.cpu_period) {
            (None, None) => Ok(()),
            (quota, Some(period)) if !self.v2() => {
                // The kernel compares quota and period with the parent's at each write, so the
                // order that works depends on what is there now.
                let set_period = || {
                    controller
                        .set_cfs_period(period)
                        .map_err(self.refused("cpu_period", period))
                };
                let set_quota = || {
                    quota.map_or(Ok(()), |quota| {
                        controller
                            .set_cfs_quota(quota)
                            .map_err(self.refused("cpu_quota", quota))
                    })
                };
                set_period().and_then(|()| set_quota()).or_else(|_| {
                    set_quota()?;
                    set_period()
                })
            }
            (quota, period) => {
                // A kubelet names the period of a container without a quota, and the controller
                // would write what it read for "max" as a number.
                let quota = quota.or(before.cpu_quota).unwrap_or(-1);
                controller
                    .set_cfs_quota_and_period(Some(quota), period)
                    .map_err(self.refused("cpu_quota", quota))
            }
        }
    }

    fn cpuset(&self, limits: &Limits) -> Result<(), UpdateError> {
        if limits.cpuset_cpus.is_none() && limits.cpuset_mems.is_none() {
            return Ok(());
        }
        let directory = self.directory("cpuset");
        let controller = CpuSetController::new(directory.clone(), directory, self.v2());
        if let Some(cpus) = &limits.cpuset_cpus {
            controller
                .set_cpus(cpus)
                .map_err(self.refused("cpuset_cpus", cpus))?;
        }
        if let Some(mems) = &limits.cpuset_mems {
            controller
                .set_mems(mems)
                .map_err(self.refused("cpuset_mems", mems))?;
        }
        Ok(())
    }

    fn hugepages(&self, limits: &Limits) -> Result<(), UpdateError> {
        // The check has let pass only zeros where nothing counts huge pages.
        if !self.tree.machine().has("hugetlb") {
            return Ok(());
        }
        let (limit, reserved) = match self.tree.version() {
            Version::V1 => ("limit_in_bytes", "rsvd.limit_in_bytes"),
            Version::V2 => ("max", "rsvd.max"),
        };
        for (size, bytes) in &limits.hugepages {
            let value = bytes.to_string();
            let write = |what| {
                self.file(
                    "hugepages",
                    "hugetlb",
                    &format!("hugetlb.{size}.{what}"),
                    &value,
                )
            };
            write(limit)?;
            // Without it a mapping succeeds and its first use kills. Kernels before 5.7 lack it.
            match write(reserved) {
                Err(UpdateError::File {
                    source: Errno::NOENT | Errno::ACCESS,
                    ..
                }) => {}
                written => written?,
            }
        }
        Ok(())
    }

    fn pids(&self, limits: &Limits) -> Result<(), UpdateError> {
        let Some(pids) = limits.pids else {
            return Ok(());
        };
        let directory = self.directory("pids");
        let value = if pids < 0 {
            MaxValue::Max
        } else {
            MaxValue::Value(pids)
        };
        PidController::new(directory.clone(), directory, self.v2())
            .set_pid_max(value)
            .map_err(self.refused("pids", pids))
    }
}

/// Returns the swap that is left of memory and swap together; -1 is no limit.
fn swap_alone(memory_and_swap: i64, memory: i64) -> i64 {
    if memory_and_swap < 0 || memory < 0 {
        return -1;
    }
    memory_and_swap.saturating_sub(memory).max(0)
}

/// Says whether `memory` is above a memory-and-swap limit that is in force.
fn grows_past(memory: i64, swap_now: Option<i64>) -> bool {
    let now = swap_now.filter(|now| *now >= 0);
    now.is_some_and(|now| memory < 0 || memory > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_alone_is_what_memory_leaves() {
        assert_eq!(swap_alone(300, 100), 200);
        assert_eq!(swap_alone(100, 100), 0);
        assert_eq!(swap_alone(-1, 100), -1);
        assert_eq!(swap_alone(100, -1), -1);
    }

    #[test]
    fn the_larger_limit_is_raised_first() {
        assert!(grows_past(200, Some(100)));
        assert!(grows_past(-1, Some(100)));
        assert!(!grows_past(50, Some(100)));
        assert!(!grows_past(200, Some(-1)));
        assert!(!grows_past(200, None));
    }

    #[test]
    fn putting_back_touches_only_what_was_changed() {
        let before = Limits {
            cpu_shares: Some(1024),
            cpu_quota: Some(-1),
            cpu_period: Some(100_000),
            memory: Some(-1),
            memory_swap: Some(-1),
            pids: Some(10),
            ..Limits::default()
        };
        let changed = Limits {
            cpu_quota: Some(5_000),
            memory: Some(1 << 30),
            ..Limits::default()
        };
        let restore = before.only_those_of(&changed);
        assert_eq!(restore.cpu_quota, Some(-1));
        assert_eq!(restore.cpu_period, Some(100_000));
        assert_eq!(restore.memory_swap, Some(-1));
        assert_eq!((restore.cpu_shares, restore.pids), (None, None));
    }
}
