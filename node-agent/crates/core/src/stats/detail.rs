//! What only metrics tell: too dear for every sample, so it is read when metrics are.

use std::collections::HashMap;

use agent_cgroup::HugetlbStats;
use agent_sys::process::{open_files, open_files_limit};
use agent_types::ContainerId;

use super::{ContainerStats, SandboxStats};
use crate::container::state::ContainerState;
use crate::services::Services;

/// What a container's processes have open, and its huge pages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Detail {
    /// Descriptors.
    pub files: u64,
    /// Those that are sockets.
    pub sockets: u64,
    /// Descriptors that its main process may have; `None` without a limit.
    pub files_limit: Option<u64>,
    /// Huge pages in use, by their size.
    pub hugetlb: Vec<HugetlbStats>,
}

/// The file system that holds writable layers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capacity {
    /// The device, such as `/dev/sda1`; numbers where it has no name.
    pub device: String,
    /// Bytes in all.
    pub bytes: u64,
    /// Inodes in all; 0 where the file system makes them at need.
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
}

/// Everything that metrics are made of.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// What sandboxes and their running containers use.
    pub sandboxes: Vec<SandboxStats>,
    /// What containers have open.
    pub details: HashMap<ContainerId, Detail>,
    /// Where writable layers are.
    pub capacity: Capacity,
    /// Names of the devices that containers read and wrote, by their numbers.
    pub devices: HashMap<(u32, u32), String>,
}

/// Reads what the samples do not tell; blocking.
pub(crate) fn metrics(services: &Services, sandboxes: Vec<SandboxStats>) -> Metrics {
    let containers = sandboxes.iter().flat_map(|sandbox| &sandbox.containers);
    let details = containers
        .filter_map(|one| Some((one.container.record.id.clone(), detail(services, one)?)))
        .collect();
    let mut devices = HashMap::new();
    for sandbox in &sandboxes {
        let own = sandbox.containers.iter();
        let samples = own
            .filter_map(|one| one.sample.as_ref())
            .chain(&sandbox.sample);
        for io in samples.flat_map(|sample| &sample.stats.io.devices) {
            let numbers = (io.major, io.minor);
            devices.entry(numbers).or_insert_with(|| name_of(numbers));
        }
    }
    Metrics {
        sandboxes,
        details,
        capacity: capacity(services),
        devices,
    }
}

fn detail(services: &Services, stats: &ContainerStats) -> Option<Detail> {
    let record = &stats.container.record;
    let ContainerState::Running { pid, .. } = stats.container.state else {
        return None;
    };
    let cgroup = services.cgroups.open_cgroup(&record.cgroup).ok()??;
    let mut detail = Detail {
        files_limit: open_files_limit(pid).ok()?,
        hugetlb: cgroup.hugetlb().unwrap_or_default(),
        ..Detail::default()
    };
    for pid in cgroup.processes().ok()? {
        // One that has ended has nothing open.
        let open = open_files(pid).unwrap_or_default();
        detail.files += open.files;
        detail.sockets += open.sockets;
    }
    Some(detail)
}

fn capacity(services: &Services) -> Capacity {
    let base = services.snapshots.base();
    let (Ok(found), Ok(stat)) = (rustix::fs::statvfs(base), rustix::fs::stat(base)) else {
        return Capacity::default();
    };
    let numbers = (
        rustix::fs::major(stat.st_dev),
        rustix::fs::minor(stat.st_dev),
    );
    Capacity {
        device: name_of(numbers),
        bytes: found.f_blocks.saturating_mul(found.f_frsize),
        inodes: found.f_files,
        inodes_free: found.f_ffree,
    }
}

/// Returns a block device's path, or its numbers where it has none.
fn name_of((major, minor): (u32, u32)) -> String {
    let link = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}"));
    let name = link
        .ok()
        .and_then(|link| Some(link.file_name()?.to_owned()));
    name.map_or_else(
        || format!("{major}:{minor}"),
        |name| format!("/dev/{}", name.to_string_lossy()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_a_name_is_told_by_its_numbers() {
        assert_eq!(name_of((4_000_000, 1)), "4000000:1");
    }
}
