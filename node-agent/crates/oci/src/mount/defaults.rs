//! What every container finds mounted, hidden and read-only.

use std::path::PathBuf;

use oci_spec::runtime::Mount;

use crate::ContainerPlan;

const SHM_SIZE: u64 = 64 * 1024 * 1024;

/// Puts one entry together.
pub(super) fn mount(destination: &str, kind: &str, source: &str, options: Vec<String>) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(destination))
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(PathBuf::from(source)))
        .set_options(Some(options));
    mount
}

/// Returns the default table with its destinations.
pub(super) fn mounts(plan: &ContainerPlan) -> Vec<(String, Mount)> {
    let shm = format!("size={}", plan.shm_size.unwrap_or(SHM_SIZE));
    let access = if plan.privileged { "rw" } else { "ro" };
    let table: [(&str, &str, &str, &[&str]); 7] = [
        ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        (
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        (
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        (
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", &shm],
        ),
        (
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ),
        (
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", access],
        ),
        (
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", access],
        ),
    ];
    let entry = |(destination, kind, source, options): (&str, &str, &str, &[&str])| {
        let options = options.iter().map(ToString::to_string).collect();
        (
            destination.to_owned(),
            mount(destination, kind, source, options),
        )
    };
    table.into_iter().map(entry).collect()
}

/// What an unprivileged container cannot see: the machine's hardware, keys and timers.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What an unprivileged container cannot change.
const READONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Returns the default masked paths.
pub(crate) fn masked_paths() -> Vec<String> {
    MASKED.map(str::to_owned).to_vec()
}

/// Returns the default read-only paths.
pub(crate) fn readonly_paths() -> Vec<String> {
    READONLY.map(str::to_owned).to_vec()
}
