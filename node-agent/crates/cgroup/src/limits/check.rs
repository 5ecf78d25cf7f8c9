//! What can be said about limits before any cgroup is touched.

use std::path::Path;

use super::{LimitError, Limits, cpuset};
use crate::{Hierarchy, Version};

/// What limits are checked against.
#[derive(Debug)]
pub(crate) struct Machine {
    version: Version,
    controllers: Vec<String>,
    swap_accounting: bool,
    page_sizes: Vec<String>,
}

impl Machine {
    /// Looks at the hierarchies, once.
    pub(crate) fn of(version: Version, hierarchies: &[Hierarchy]) -> Self {
        let swap_accounting = hierarchies
            .iter()
            .filter(|h| h.has("memory"))
            .any(|h| version == Version::V2 || h.mount_point().join(MEMSW_LIMIT).exists());
        Self {
            version,
            controllers: hierarchies
                .iter()
                .flat_map(|h| h.controllers().iter().cloned())
                .collect(),
            swap_accounting,
            page_sizes: page_sizes(Path::new("/sys/kernel/mm/hugepages")),
        }
    }

    pub(crate) fn page_sizes(&self) -> &[String] {
        &self.page_sizes
    }

    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    fn need(&self, field: &'static str, controller: &'static str) -> Result<(), LimitError> {
        if self.has(controller) {
            return Ok(());
        }
        Err(LimitError::Unsupported {
            field,
            missing: controller,
        })
    }
}

const MEMSW_LIMIT: &str = "memory.memsw.limit_in_bytes";

/// Names the sizes of `hugepages-2048kB` directories as the hugetlb controller does: `2MB`.
fn page_sizes(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let names = entries
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned());
    let mut sizes: Vec<_> = names.filter_map(|name| page_size(&name)).collect();
    sizes.sort();
    sizes
}

fn page_size(name: &str) -> Option<String> {
    let kib: u64 = name
        .strip_prefix("hugepages-")?
        .strip_suffix("kB")?
        .parse()
        .ok()?;
    Some(match kib {
        k if k >= 1 << 20 => format!("{}GB", k >> 20),
        k if k >= 1 << 10 => format!("{}MB", k >> 10),
        k => format!("{k}KB"),
    })
}

/// Refuses limits that cannot hold on this machine, naming the field.
pub(crate) fn check(
    limits: &Limits,
    machine: &Machine,
    minimum_memory: u64,
) -> Result<(), LimitError> {
    check_cpu(limits, machine)?;
    check_cpuset(limits, machine)?;
    check_memory(limits, machine, minimum_memory)?;
    if let Some(pids) = limits.pids {
        range("pids", pids, pids == -1 || pids > 0, "1 and more, or -1")?;
        machine.need("pids", "pids")?;
    }
    for (size, bytes) in &limits.hugepages {
        // A kubelet sends 0 for every size to every container, wanted or not.
        if *bytes == 0 && !machine.has("hugetlb") {
            continue;
        }
        machine.need("hugepages", "hugetlb")?;
        if !machine.page_sizes.contains(size) {
            return Err(LimitError::PageSize { size: size.clone() });
        }
    }
    limits
        .unified
        .iter()
        .try_for_each(|(file, value)| check_unified(file, value, machine))
}

fn range(
    field: &'static str,
    value: impl Into<i128>,
    holds: bool,
    range: &'static str,
) -> Result<(), LimitError> {
    if holds {
        return Ok(());
    }
    Err(LimitError::Range {
        field,
        value: value.into(),
        range,
    })
}

fn check_cpu(limits: &Limits, machine: &Machine) -> Result<(), LimitError> {
    if let Some(shares) = limits.cpu_shares {
        range("cpu_shares", shares, shares > 0, "1 and more")?;
        machine.need("cpu_shares", "cpu")?;
    }
    if let Some(period) = limits.cpu_period {
        range(
            "cpu_period",
            period,
            (1_000..=1_000_000).contains(&period),
            "1000 to 1000000",
        )?;
        machine.need("cpu_period", "cpu")?;
    }
    if let Some(quota) = limits.cpu_quota {
        range(
            "cpu_quota",
            quota,
            quota == -1 || quota >= 1_000,
            "1000 and more, or -1",
        )?;
        machine.need("cpu_quota", "cpu")?;
    }
    Ok(())
}

fn check_cpuset(limits: &Limits, machine: &Machine) -> Result<(), LimitError> {
    let lists = [
        (
            "cpuset_cpus",
            &limits.cpuset_cpus,
            "/sys/devices/system/cpu/online",
        ),
        (
            "cpuset_mems",
            &limits.cpuset_mems,
            "/sys/devices/system/node/online",
        ),
    ];
    for (field, list, online) in lists {
        let Some(list) = list else { continue };
        machine.need(field, "cpuset")?;
        // A kernel without NUMA has no such file, and one node.
        let online = std::fs::read_to_string(online).unwrap_or_else(|_| "0".to_owned());
        check_list(field, list, online.trim())?;
    }
    Ok(())
}

fn check_list(field: &'static str, list: &str, online: &str) -> Result<(), LimitError> {
    let wanted = cpuset::parse(list).ok_or_else(|| LimitError::List {
        field,
        value: list.to_owned(),
    })?;
    let there = cpuset::parse(online).unwrap_or_default();
    match cpuset::first_missing(&wanted, &there) {
        None => Ok(()),
        Some(missing) => Err(LimitError::Offline {
            field,
            value: list.to_owned(),
            missing,
            online: online.to_owned(),
        }),
    }
}

fn check_memory(limits: &Limits, machine: &Machine, minimum: u64) -> Result<(), LimitError> {
    if let Some(memory) = limits.memory {
        range(
            "memory",
            memory,
            memory == -1 || memory > 0,
            "1 and more, or -1",
        )?;
        if memory > 0 && memory.unsigned_abs() < minimum {
            return Err(LimitError::MemoryTooSmall {
                value: memory,
                minimum,
            });
        }
        machine.need("memory", "memory")?;
    }
    let Some(swap) = limits.memory_swap else {
        return Ok(());
    };
    range(
        "memory_swap",
        swap,
        swap == -1 || swap > 0,
        "1 and more, or -1",
    )?;
    if !machine.swap_accounting {
        return Err(LimitError::Unsupported {
            field: "memory_swap",
            missing: "swap accounting",
        });
    }
    match limits.memory {
        Some(-1) if swap > 0 => Err(LimitError::SwapWithoutMemory { swap }),
        Some(memory) if swap > 0 && memory > swap => {
            Err(LimitError::SwapBelowMemory { swap, memory })
        }
        _ => Ok(()),
    }
}

/// Controllers whose files a container's limits may name; `cgroup.*` files never.
const UNIFIED_CONTROLLERS: &[&str] = &[
    "cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma",
];

fn check_unified(file: &str, value: &str, machine: &Machine) -> Result<(), LimitError> {
    let refused = || LimitError::UnifiedFile {
        file: file.to_owned(),
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_');
    let (controller, rest) = file.split_once('.').ok_or_else(refused)?;
    if rest.is_empty() || file.len() > 100 || !file.bytes().all(allowed) || file.contains("..") {
        return Err(refused());
    }
    if !UNIFIED_CONTROLLERS.contains(&controller) {
        return Err(refused());
    }
    if machine.version == Version::V1 {
        return Err(LimitError::Unsupported {
            field: "unified",
            missing: "cgroup v2",
        });
    }
    if value.contains(['\0', '\n']) || value.len() > 1024 {
        return Err(LimitError::UnifiedValue {
            file: file.to_owned(),
            value: value.chars().take(200).collect(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MINIMUM_MEMORY_LOCAL;

    fn machine(version: Version) -> Machine {
        Machine {
            version,
            controllers: ["cpu", "cpuset", "memory", "pids", "hugetlb"]
                .map(String::from)
                .to_vec(),
            swap_accounting: true,
            page_sizes: vec!["2MB".into()],
        }
    }

    fn refused(limits: &Limits) -> String {
        check(limits, &machine(Version::V2), 0)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_refusal_names_its_field() {
        type Set = fn(&mut Limits);
        let cases: [(&str, Set); 14] = [
            ("cpu_shares", |l| l.cpu_shares = Some(0)),
            ("cpu_period", |l| l.cpu_period = Some(999)),
            ("cpu_period", |l| l.cpu_period = Some(1_000_001)),
            ("cpu_quota", |l| l.cpu_quota = Some(999)),
            ("cpu_quota", |l| l.cpu_quota = Some(-2)),
            ("cpuset_cpus", |l| l.cpuset_cpus = Some("0;1".into())),
            ("cpuset_cpus", |l| l.cpuset_cpus = Some("0-60000".into())),
            ("cpuset_mems", |l| l.cpuset_mems = Some("x".into())),
            ("memory", |l| l.memory = Some(0)),
            ("memory_swap", |l| l.memory_swap = Some(-5)),
            ("memory_swap", |l| {
                (l.memory, l.memory_swap) = (Some(10), Some(9))
            }),
            ("memory_swap", |l| {
                (l.memory, l.memory_swap) = (Some(-1), Some(9))
            }),
            ("pids", |l| l.pids = Some(0)),
            ("hugepages", |l| l.hugepages = [("3MB".into(), 1)].into()),
        ];
        for (field, set) in cases {
            let mut limits = Limits::default();
            set(&mut limits);
            assert!(refused(&limits).contains(field), "{limits:?}");
        }
    }

    #[test]
    fn unified_names_cannot_leave_the_cgroup_or_touch_its_core() {
        for file in [
            "../memory.max",
            "memory/max",
            "cgroup.kill",
            "cgroup.procs",
            "memory",
            "memory.",
            "evil.x",
            "cpu..max",
        ] {
            let limits = Limits {
                unified: [(file.into(), "1".into())].into(),
                ..Limits::default()
            };
            assert!(refused(&limits).contains("unified"), "{file}");
        }
        let smuggled = Limits {
            unified: [("memory.max".into(), "1\n2".into())].into(),
            ..Limits::default()
        };
        assert!(refused(&smuggled).contains("memory.max"));
        let good = Limits {
            unified: [("memory.high".into(), "1000000".into())].into(),
            ..Limits::default()
        };
        assert_eq!(check(&good, &machine(Version::V2), 0), Ok(()));
        assert!(matches!(
            check(&good, &machine(Version::V1), 0),
            Err(LimitError::Unsupported { .. })
        ));
    }

    #[test]
    fn the_minimum_is_the_callers() {
        let limits = Limits {
            memory: Some(4 << 20),
            ..Limits::default()
        };
        assert_eq!(check(&limits, &machine(Version::V1), 0), Ok(()));
        assert!(check(&limits, &machine(Version::V1), MINIMUM_MEMORY_LOCAL).is_err());
        let none = Limits {
            memory: Some(-1),
            ..Limits::default()
        };
        assert_eq!(
            check(&none, &machine(Version::V1), MINIMUM_MEMORY_LOCAL),
            Ok(())
        );
    }

    #[test]
    fn what_the_machine_lacks_is_named() {
        let mut bare = machine(Version::V1);
        bare.controllers.retain(|c| c != "pids");
        bare.swap_accounting = false;
        let pids = Limits {
            pids: Some(5),
            ..Limits::default()
        };
        let swap = Limits {
            memory: Some(1 << 30),
            memory_swap: Some(1 << 30),
            ..Limits::default()
        };
        assert!(
            check(&pids, &bare, 0)
                .unwrap_err()
                .to_string()
                .contains("pids is missing")
        );
        assert!(
            check(&swap, &bare, 0)
                .unwrap_err()
                .to_string()
                .contains("swap accounting")
        );
    }

    #[test]
    fn page_sizes_have_the_controllers_names() {
        assert_eq!(page_size("hugepages-2048kB").as_deref(), Some("2MB"));
        assert_eq!(page_size("hugepages-1048576kB").as_deref(), Some("1GB"));
        assert_eq!(page_size("hugepages-64kB").as_deref(), Some("64KB"));
        assert_eq!(page_size("other"), None);
    }
}
