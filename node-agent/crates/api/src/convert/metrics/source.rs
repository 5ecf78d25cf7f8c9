//! Where the values of metrics come from.

use agent_cgroup::{DeviceIo, HugetlbStats, Limits, Pressure, Stall};
use agent_core::stats::{Capacity, Detail, Layer};
use agent_core::time::Timestamp;
use agent_network::InterfaceStats;

use super::{Subject, Take};

/// Nanoseconds.
pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.nanos()).unwrap_or(0) / SECOND
}

pub(super) fn memory_failures(of: &Subject<'_>, take: Take<'_>) {
    let memory = &of.stats.memory;
    // The kernel counts what happens below as well; there is no other count.
    for scope in ["container", "hierarchy"] {
        take(&["pgfault", scope], memory.page_faults);
        take(&["pgmajfault", scope], memory.major_page_faults);
    }
}

pub(super) fn detail(of: &Subject<'_>, take: Take<'_>, pick: fn(&Detail) -> Option<u64>) {
    let inside = of.container.as_ref();
    if let Some(value) = inside.and_then(|inside| inside.detail).and_then(pick) {
        take(&[], value);
    }
}

pub(super) fn hugetlb(of: &Subject<'_>, take: Take<'_>, pick: fn(&HugetlbStats) -> Option<u64>) {
    let detail = of.container.as_ref().and_then(|inside| inside.detail);
    by_page_size(detail.map_or(&[], |detail| &detail.hugetlb), take, pick);
}

fn by_page_size(all: &[HugetlbStats], take: Take<'_>, pick: fn(&HugetlbStats) -> Option<u64>) {
    for one in all {
        if let Some(value) = pick(one) {
            take(&[&one.page_size], value);
        }
    }
}

pub(super) fn ulimits(of: &Subject<'_>, take: Take<'_>) {
    let limit = |detail: &Detail| detail.files_limit;
    detail(of, &mut |_, value| take(&["max_open_files"], value), limit);
}

pub(super) fn interfaces(of: &Subject<'_>, take: Take<'_>, pick: fn(&InterfaceStats) -> u64) {
    for one in of.traffic.iter().flat_map(|traffic| &traffic.interfaces) {
        take(&[&one.name], pick(one));
    }
}

pub(super) fn layer(of: &Subject<'_>, take: Take<'_>, pick: fn(&Layer, &Capacity) -> u64) {
    let inside = of.container.as_ref();
    if let Some(layer) = inside.and_then(|inside| inside.layer) {
        take(&[&of.capacity.device], pick(layer, of.capacity));
    }
}

fn device<'a>(of: &'a Subject<'_>, one: &DeviceIo) -> &'a str {
    let name = of.devices.get(&(one.major, one.minor));
    name.map_or("", String::as_str)
}

/// What has used no device yet has used that of its layer not at all.
pub(super) fn devices(of: &Subject<'_>, take: Take<'_>, pick: fn(&DeviceIo) -> u64) {
    let used = &of.stats.io.devices;
    for one in used {
        take(&[device(of, one)], pick(one));
    }
    if used.is_empty() {
        take(&[&of.capacity.device], 0);
    }
}

pub(super) fn blkio(of: &Subject<'_>, take: Take<'_>) {
    for one in &of.stats.io.devices {
        let (major, minor) = (one.major.to_string(), one.minor.to_string());
        for (operation, value) in [("Read", one.read_bytes), ("Write", one.write_bytes)] {
            take(&[device(of, one), &major, &minor, operation], value);
        }
    }
}

pub(super) fn pressure(of: Option<Pressure>, take: Take<'_>, pick: fn(Pressure) -> Stall) {
    if let Some(pressure) = of {
        take(&[], pick(pressure).total_ns / SECOND);
    }
}

pub(super) fn positive(limit: Option<i64>) -> Option<u64> {
    limit.and_then(|limit| u64::try_from(limit).ok())
}

pub(super) fn limit(of: &Subject<'_>, take: Take<'_>, pick: fn(&Limits) -> Option<u64>) {
    let inside = of.container.as_ref();
    let limits = inside.map(|inside| &inside.stats.container.record.spec.limits);
    if let Some(value) = limits.and_then(pick) {
        take(&[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_told_by_their_size() {
        let of = |page_size: &str, usage: u64, max_usage: Option<u64>| HugetlbStats {
            page_size: page_size.to_owned(),
            usage,
            max_usage,
        };
        let all = [of("2MB", 4, Some(6)), of("1GB", 0, None)];
        let told = |pick| {
            let mut told = Vec::new();
            by_page_size(
                &all,
                &mut |labels, value| told.push((labels.join(" "), value)),
                pick,
            );
            told
        };
        let size = |name: &str, value: u64| (name.to_owned(), value);
        assert_eq!(
            told(|one| Some(one.usage)),
            [size("2MB", 4), size("1GB", 0)]
        );
        assert_eq!(told(|one| one.max_usage), [size("2MB", 6)]);
    }
}
