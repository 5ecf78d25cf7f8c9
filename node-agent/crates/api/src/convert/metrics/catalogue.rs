// size: one entry for each metric.
//! Each metric: name, kind, meaning, labels of its own, and where its values come from.

use agent_cgroup::{DeviceIo, Limits, Pressure, Stall};
use agent_core::stats::{Capacity, Detail, Layer};
use agent_core::time::Timestamp;
use agent_network::InterfaceStats;
use proto::cri::MetricType::{Counter, Gauge};

use super::{Metric, Subject, Take};

/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// All metrics.
pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "container_cpu_usage_seconds_total",
        help: "Seconds of processor time.",
        kind: Counter,
        labels: &["cpu"],
        read: |of, take| take(&["total"], of.stats.cpu.usage_ns / SECOND),
    },
    Metric {
        name: "container_cpu_user_seconds_total",
        help: "Seconds of processor time in user mode.",
        kind: Counter,
        labels: &[],
        read: |of, take| take(&[], of.stats.cpu.user_ns / SECOND),
    },
    Metric {
        name: "container_cpu_system_seconds_total",
        help: "Seconds of processor time in the kernel.",
        kind: Counter,
        labels: &[],
        read: |of, take| take(&[], of.stats.cpu.system_ns / SECOND),
    },
    Metric {
        name: "container_cpu_cfs_periods_total",
        help: "Periods of the processor quota that passed.",
        kind: Counter,
        labels: &[],
        read: |of, take| take(&[], of.stats.cpu.periods),
    },
    Metric {
        name: "container_cpu_cfs_throttled_periods_total",
        help: "Periods in which processes were throttled.",
        kind: Counter,
        labels: &[],
        read: |of, take| take(&[], of.stats.cpu.throttled_periods),
    },
    Metric {
        name: "container_cpu_cfs_throttled_seconds_total",
        help: "Seconds for which processes were throttled.",
        kind: Counter,
        labels: &[],
        read: |of, take| take(&[], of.stats.cpu.throttled_ns / SECOND),
    },
    Metric {
        name: "container_memory_usage_bytes",
        help: "Bytes charged, page cache included.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], of.stats.memory.usage),
    },
    Metric {
        name: "container_memory_working_set_bytes",
        help: "Bytes that cannot easily be taken back.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], of.stats.memory.working_set),
    },
    Metric {
        name: "container_memory_rss",
        help: "Bytes of anonymous memory.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], of.stats.memory.rss),
    },
    Metric {
        name: "container_memory_cache",
        help: "Bytes of page cache.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], of.stats.memory.cache),
    },
    Metric {
        name: "container_memory_mapped_file",
        help: "Bytes of files mapped into processes.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], of.stats.memory.mapped_file),
    },
    Metric {
        name: "container_memory_kernel_usage",
        help: "Bytes of the kernel's own.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], of.stats.memory.kernel),
    },
    Metric {
        name: "container_memory_swap",
        help: "Bytes in swap.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], of.stats.memory.swap_usage),
    },
    Metric {
        name: "container_memory_total_active_file_bytes",
        help: "Bytes of page cache used lately.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], of.stats.memory.active_file),
    },
    Metric {
        name: "container_memory_total_inactive_file_bytes",
        help: "Bytes of page cache not used lately.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], of.stats.memory.inactive_file),
    },
    Metric {
        name: "container_memory_max_usage_bytes",
        help: "Most bytes charged at any time.",
        kind: Gauge,
        labels: &[],
        read: |of, take| {
            if let Some(most) = of.stats.memory.max_usage {
                take(&[], most);
            }
        },
    },
    Metric {
        name: "container_memory_failcnt",
        help: "How often memory was at its limit.",
        kind: Counter,
        labels: &[],
        read: |of, take| take(&[], of.stats.memory.failures),
    },
    Metric {
        name: "container_memory_failures_total",
        help: "Page faults.",
        kind: Counter,
        labels: &["failure_type", "scope"],
        read: memory_failures,
    },
    Metric {
        name: "container_oom_events_total",
        help: "Processes killed for want of memory.",
        kind: Counter,
        labels: &[],
        read: |of, take| take(&[], of.stats.memory.oom_kills),
    },
    Metric {
        name: "container_processes",
        help: "Processes.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], of.stats.pids.processes),
    },
    Metric {
        name: "container_threads",
        help: "Threads.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], of.stats.pids.current),
    },
    Metric {
        name: "container_threads_max",
        help: "Threads it may have; 0 without a limit.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], of.stats.pids.limit.unwrap_or(0)),
    },
    Metric {
        name: "container_file_descriptors",
        help: "Open descriptors.",
        kind: Gauge,
        labels: &[],
        read: |of, take| detail(of, take, |detail| Some(detail.files)),
    },
    Metric {
        name: "container_sockets",
        help: "Open sockets.",
        kind: Gauge,
        labels: &[],
        read: |of, take| detail(of, take, |detail| Some(detail.sockets)),
    },
    Metric {
        name: "container_ulimits_soft",
        help: "Soft limits of the main process.",
        kind: Gauge,
        labels: &["ulimit"],
        read: ulimits,
    },
    Metric {
        name: "container_network_receive_bytes_total",
        help: "Bytes received.",
        kind: Counter,
        labels: &["interface"],
        read: |of, take| interfaces(of, take, |one| one.rx_bytes),
    },
    Metric {
        name: "container_network_receive_packets_total",
        help: "Packets received.",
        kind: Counter,
        labels: &["interface"],
        read: |of, take| interfaces(of, take, |one| one.rx_packets),
    },
    Metric {
        name: "container_network_receive_packets_dropped_total",
        help: "Packets dropped, to be received.",
        kind: Counter,
        labels: &["interface"],
        read: |of, take| interfaces(of, take, |one| one.rx_dropped),
    },
    Metric {
        name: "container_network_receive_errors_total",
        help: "Errors of packets to be received.",
        kind: Counter,
        labels: &["interface"],
        read: |of, take| interfaces(of, take, |one| one.rx_errors),
    },
    Metric {
        name: "container_network_transmit_bytes_total",
        help: "Bytes sent.",
        kind: Counter,
        labels: &["interface"],
        read: |of, take| interfaces(of, take, |one| one.tx_bytes),
    },
    Metric {
        name: "container_network_transmit_packets_total",
        help: "Packets sent.",
        kind: Counter,
        labels: &["interface"],
        read: |of, take| interfaces(of, take, |one| one.tx_packets),
    },
    Metric {
        name: "container_network_transmit_packets_dropped_total",
        help: "Packets dropped, to be sent.",
        kind: Counter,
        labels: &["interface"],
        read: |of, take| interfaces(of, take, |one| one.tx_dropped),
    },
    Metric {
        name: "container_network_transmit_errors_total",
        help: "Errors of packets to be sent.",
        kind: Counter,
        labels: &["interface"],
        read: |of, take| interfaces(of, take, |one| one.tx_errors),
    },
    Metric {
        name: "container_fs_usage_bytes",
        help: "Bytes of the writable layer.",
        kind: Gauge,
        labels: &["device"],
        read: |of, take| layer(of, take, |layer, _| layer.usage.bytes),
    },
    Metric {
        name: "container_fs_limit_bytes",
        help: "Bytes of the file system of the writable layer.",
        kind: Gauge,
        labels: &["device"],
        read: |of, take| layer(of, take, |_, of| of.bytes),
    },
    Metric {
        name: "container_fs_inodes_total",
        help: "Inodes of the file system of the writable layer.",
        kind: Gauge,
        labels: &["device"],
        read: |of, take| layer(of, take, |_, of| of.inodes),
    },
    Metric {
        name: "container_fs_inodes_free",
        help: "Free inodes of the file system of the writable layer.",
        kind: Gauge,
        labels: &["device"],
        read: |of, take| layer(of, take, |_, of| of.inodes_free),
    },
    Metric {
        name: "container_fs_reads_bytes_total",
        help: "Bytes read.",
        kind: Counter,
        labels: &["device"],
        read: |of, take| devices(of, take, |one| one.read_bytes),
    },
    Metric {
        name: "container_fs_writes_bytes_total",
        help: "Bytes written.",
        kind: Counter,
        labels: &["device"],
        read: |of, take| devices(of, take, |one| one.write_bytes),
    },
    Metric {
        name: "container_fs_reads_total",
        help: "Reads done.",
        kind: Counter,
        labels: &["device"],
        read: |of, take| devices(of, take, |one| one.reads),
    },
    Metric {
        name: "container_fs_writes_total",
        help: "Writes done.",
        kind: Counter,
        labels: &["device"],
        read: |of, take| devices(of, take, |one| one.writes),
    },
    Metric {
        name: "container_blkio_device_usage_total",
        help: "Bytes read and written.",
        kind: Counter,
        labels: &["device", "major", "minor", "operation"],
        read: blkio,
    },
    Metric {
        name: "container_pressure_cpu_waiting_seconds_total",
        help: "Seconds in which something waited for a processor.",
        kind: Counter,
        labels: &[],
        read: |of, take| pressure(of.stats.cpu.pressure, take, |one| one.some),
    },
    Metric {
        name: "container_pressure_cpu_stalled_seconds_total",
        help: "Seconds in which everything waited for a processor.",
        kind: Counter,
        labels: &[],
        read: |of, take| pressure(of.stats.cpu.pressure, take, |one| one.full),
    },
    Metric {
        name: "container_pressure_memory_waiting_seconds_total",
        help: "Seconds in which something waited for memory.",
        kind: Counter,
        labels: &[],
        read: |of, take| pressure(of.stats.memory.pressure, take, |one| one.some),
    },
    Metric {
        name: "container_pressure_memory_stalled_seconds_total",
        help: "Seconds in which everything waited for memory.",
        kind: Counter,
        labels: &[],
        read: |of, take| pressure(of.stats.memory.pressure, take, |one| one.full),
    },
    Metric {
        name: "container_pressure_io_waiting_seconds_total",
        help: "Seconds in which something waited for a device.",
        kind: Counter,
        labels: &[],
        read: |of, take| pressure(of.stats.io.pressure, take, |one| one.some),
    },
    Metric {
        name: "container_pressure_io_stalled_seconds_total",
        help: "Seconds in which everything waited for a device.",
        kind: Counter,
        labels: &[],
        read: |of, take| pressure(of.stats.io.pressure, take, |one| one.full),
    },
    Metric {
        name: "container_spec_cpu_shares",
        help: "Weight of processor time; 1024 is one share.",
        kind: Gauge,
        labels: &[],
        read: |of, take| limit(of, take, |limits| limits.cpu_shares),
    },
    Metric {
        name: "container_spec_cpu_period",
        help: "Length of the period of the processor quota, in microseconds.",
        kind: Gauge,
        labels: &[],
        read: |of, take| limit(of, take, |limits| limits.cpu_period),
    },
    Metric {
        name: "container_spec_cpu_quota",
        help: "Microseconds of processor time in each period.",
        kind: Gauge,
        labels: &[],
        read: |of, take| limit(of, take, |limits| positive(limits.cpu_quota)),
    },
    Metric {
        name: "container_spec_memory_limit_bytes",
        help: "Limit of memory in bytes; 0 without one.",
        kind: Gauge,
        labels: &[],
        read: |of, take| {
            limit(of, take, |limits| {
                Some(positive(limits.memory).unwrap_or(0))
            })
        },
    },
    Metric {
        name: "container_spec_memory_swap_limit_bytes",
        help: "Limit of memory and swap together in bytes; 0 without one.",
        kind: Gauge,
        labels: &[],
        read: |of, take| {
            limit(of, take, |limits| {
                Some(positive(limits.memory_swap).unwrap_or(0))
            })
        },
    },
    Metric {
        name: "container_start_time_seconds",
        help: "When it was started, in seconds since the epoch.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], seconds(of.started_at)),
    },
    Metric {
        name: "container_last_seen",
        help: "When it was last looked at, in seconds since the epoch.",
        kind: Gauge,
        labels: &[],
        read: |of, take| take(&[], seconds(of.stats.at.into())),
    },
];

fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.nanos()).unwrap_or(0) / SECOND
}

fn memory_failures(of: &Subject<'_>, take: Take<'_>) {
    let memory = &of.stats.memory;
    // The kernel counts what happens below as well; there is no other count.
    for scope in ["container", "hierarchy"] {
        take(&["pgfault", scope], memory.page_faults);
        take(&["pgmajfault", scope], memory.major_page_faults);
    }
}

fn detail(of: &Subject<'_>, take: Take<'_>, pick: fn(&Detail) -> Option<u64>) {
    let inside = of.container.as_ref();
    if let Some(value) = inside.and_then(|inside| inside.detail).and_then(pick) {
        take(&[], value);
    }
}

fn ulimits(of: &Subject<'_>, take: Take<'_>) {
    let limit = |detail: &Detail| detail.files_limit;
    detail(of, &mut |_, value| take(&["max_open_files"], value), limit);
}

fn interfaces(of: &Subject<'_>, take: Take<'_>, pick: fn(&InterfaceStats) -> u64) {
    for one in of.traffic.iter().flat_map(|traffic| &traffic.interfaces) {
        take(&[&one.name], pick(one));
    }
}

fn layer(of: &Subject<'_>, take: Take<'_>, pick: fn(&Layer, &Capacity) -> u64) {
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
fn devices(of: &Subject<'_>, take: Take<'_>, pick: fn(&DeviceIo) -> u64) {
    let used = &of.stats.io.devices;
    for one in used {
        take(&[device(of, one)], pick(one));
    }
    if used.is_empty() {
        take(&[&of.capacity.device], 0);
    }
}

fn blkio(of: &Subject<'_>, take: Take<'_>) {
    for one in &of.stats.io.devices {
        let (major, minor) = (one.major.to_string(), one.minor.to_string());
        for (operation, value) in [("Read", one.read_bytes), ("Write", one.write_bytes)] {
            take(&[device(of, one), &major, &minor, operation], value);
        }
    }
}

fn pressure(of: Option<Pressure>, take: Take<'_>, pick: fn(Pressure) -> Stall) {
    if let Some(pressure) = of {
        take(&[], pick(pressure).total_ns / SECOND);
    }
}

fn positive(limit: Option<i64>) -> Option<u64> {
    limit.and_then(|limit| u64::try_from(limit).ok())
}

fn limit(of: &Subject<'_>, take: Take<'_>, pick: fn(&Limits) -> Option<u64>) {
    let inside = of.container.as_ref();
    let limits = inside.map(|inside| &inside.stats.container.record.spec.limits);
    if let Some(value) = limits.and_then(pick) {
        take(&[], value);
    }
}
