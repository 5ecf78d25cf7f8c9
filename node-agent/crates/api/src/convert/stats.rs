//! What sandboxes and containers use, from the node to CRI.

use agent_cgroup::{MemoryStats, Pressure, Stall};
use agent_core::sandbox::view::{ContainerView, SandboxView};
use agent_core::stats::{ContainerStats, Layer, Sample, SandboxStats, Traffic};
use agent_core::time::Timestamp;
use agent_network::InterfaceStats;
use proto::cri;

use super::unordered;

#[expect(
    clippy::unnecessary_wraps,
    reason = "every number of these messages may be left out"
)]
fn value(value: u64) -> Option<cri::UInt64Value> {
    Some(cri::UInt64Value { value })
}

fn stall(stall: &Stall) -> Option<cri::PsiData> {
    Some(cri::PsiData {
        total: stall.total_ns,
        avg10: stall.avg10,
        avg60: stall.avg60,
        avg300: stall.avg300,
    })
}

fn psi(pressure: Option<&Pressure>) -> Option<cri::PsiStats> {
    pressure.map(|pressure| cri::PsiStats {
        full: stall(&pressure.full),
        some: stall(&pressure.some),
    })
}

fn at(sample: &Sample) -> i64 {
    Timestamp::from(sample.stats.at).nanos()
}

fn cpu(sample: &Sample) -> cri::CpuUsage {
    let cpu = &sample.stats.cpu;
    cri::CpuUsage {
        timestamp: at(sample),
        usage_core_nano_seconds: value(cpu.usage_ns),
        usage_nano_cores: value(sample.nano_cores),
        psi: psi(cpu.pressure.as_ref()),
    }
}

fn left(limit: Option<u64>, used: u64) -> Option<cri::UInt64Value> {
    limit.and_then(|limit| value(limit.saturating_sub(used)))
}

fn memory(sample: &Sample) -> cri::MemoryUsage {
    let memory = &sample.stats.memory;
    cri::MemoryUsage {
        timestamp: at(sample),
        working_set_bytes: value(memory.working_set),
        available_bytes: left(memory.limit, memory.working_set),
        usage_bytes: value(memory.usage),
        rss_bytes: value(memory.rss),
        page_faults: value(memory.page_faults),
        major_page_faults: value(memory.major_page_faults),
        psi: psi(memory.pressure.as_ref()),
    }
}

fn swap(sample: &Sample) -> cri::SwapUsage {
    let MemoryStats {
        swap_usage,
        swap_limit,
        ..
    } = sample.stats.memory;
    cri::SwapUsage {
        timestamp: at(sample),
        swap_available_bytes: left(swap_limit, swap_usage),
        swap_usage_bytes: value(swap_usage),
    }
}

fn io(sample: &Sample) -> cri::IoUsage {
    cri::IoUsage {
        timestamp: at(sample),
        psi: psi(sample.stats.io.pressure.as_ref()),
    }
}

fn layer(layer: &Layer, mountpoint: &str) -> cri::FilesystemUsage {
    cri::FilesystemUsage {
        timestamp: layer.at.nanos(),
        fs_id: Some(cri::FilesystemIdentifier {
            mountpoint: mountpoint.to_owned(),
        }),
        used_bytes: value(layer.usage.bytes),
        inodes_used: value(layer.usage.inodes),
    }
}

/// Returns a container's use as CRI shows it.
pub(crate) fn container(stats: &ContainerStats, mountpoint: &str) -> cri::ContainerStats {
    let record = &stats.container.record;
    let spec = &record.spec;
    let sample = stats.sample.as_deref();
    cri::ContainerStats {
        attributes: Some(cri::ContainerAttributes {
            id: record.id.to_string(),
            metadata: Some(cri::ContainerMetadata {
                name: spec.metadata.name.clone(),
                attempt: spec.metadata.attempt,
            }),
            labels: unordered(&spec.labels),
            annotations: unordered(&spec.annotations),
        }),
        cpu: sample.map(cpu),
        memory: sample.map(memory),
        writable_layer: stats.layer.as_ref().map(|one| layer(one, mountpoint)),
        swap: sample.map(swap),
        io: sample.map(io),
    }
}

fn interface(stats: &InterfaceStats) -> cri::NetworkInterfaceUsage {
    cri::NetworkInterfaceUsage {
        name: stats.name.clone(),
        rx_bytes: value(stats.rx_bytes),
        rx_errors: value(stats.rx_errors),
        tx_bytes: value(stats.tx_bytes),
        tx_errors: value(stats.tx_errors),
    }
}

fn network(traffic: &Traffic) -> cri::NetworkUsage {
    let default = traffic.default_interface();
    let others = traffic.interfaces.iter();
    let others = others.filter(|one| default.is_none_or(|default| default.name != one.name));
    cri::NetworkUsage {
        timestamp: traffic.at.nanos(),
        default_interface: default.map(interface),
        interfaces: others.map(interface).collect(),
    }
}

/// Returns a sandbox's use as CRI shows it.
pub(crate) fn sandbox(stats: &SandboxStats, mountpoint: &str) -> cri::PodSandboxStats {
    let record = &stats.sandbox.record;
    let sample = stats.sample.as_deref();
    let containers = stats.containers.iter();
    cri::PodSandboxStats {
        attributes: Some(cri::PodSandboxAttributes {
            id: record.id.to_string(),
            metadata: Some(super::sandbox::metadata(&stats.sandbox)),
            labels: unordered(&record.spec.labels),
            annotations: unordered(&record.spec.annotations),
        }),
        linux: Some(cri::LinuxPodSandboxStats {
            cpu: sample.map(cpu),
            memory: sample.map(memory),
            network: stats.traffic.as_deref().map(network),
            process: sample.map(|sample| cri::ProcessUsage {
                timestamp: at(sample),
                process_count: value(sample.stats.pids.current),
            }),
            containers: containers.map(|one| container(one, mountpoint)).collect(),
            io: sample.map(io),
        }),
        windows: None,
    }
}

/// Returns whether a container passes a filter.
pub(crate) fn passes(
    container: &ContainerView,
    filter: Option<&cri::ContainerStatsFilter>,
) -> bool {
    let Some(filter) = filter else {
        return true;
    };
    let record = &container.record;
    record.id.as_str().starts_with(&filter.id)
        && record.sandbox.as_str().starts_with(&filter.pod_sandbox_id)
        && super::selected(&record.spec.labels, &filter.label_selector)
}

/// Returns whether a sandbox passes a filter.
pub(crate) fn sandbox_passes(
    view: &SandboxView,
    filter: Option<&cri::PodSandboxStatsFilter>,
) -> bool {
    let Some(filter) = filter else {
        return true;
    };
    let record = &view.record;
    record.id.as_str().starts_with(&filter.id)
        && super::selected(&record.spec.labels, &filter.label_selector)
}
