//! What containers use, from the node to CRI.

use agent_core::node::ContainerStats;
use agent_core::time::Timestamp;
use proto::cri;

use super::unordered;

fn value(value: u64) -> Option<cri::UInt64Value> {
    Some(cri::UInt64Value { value })
}

/// Returns a container's use as CRI shows it.
pub(crate) fn container(stats: &ContainerStats, mountpoint: &str) -> cri::ContainerStats {
    let record = &stats.seen.container.record;
    let spec = &record.spec;
    let layer = stats.layer.as_ref().map(|layer| cri::FilesystemUsage {
        timestamp: stats.measured_at.nanos(),
        fs_id: Some(cri::FilesystemIdentifier {
            mountpoint: mountpoint.to_owned(),
        }),
        used_bytes: value(layer.bytes),
        inodes_used: value(layer.inodes),
    });
    let mut message = cri::ContainerStats {
        attributes: Some(cri::ContainerAttributes {
            id: record.id.to_string(),
            metadata: Some(cri::ContainerMetadata {
                name: spec.metadata.name.clone(),
                attempt: spec.metadata.attempt,
            }),
            labels: unordered(&spec.labels),
            annotations: unordered(&spec.annotations),
        }),
        writable_layer: layer,
        ..cri::ContainerStats::default()
    };
    if let Some(cgroup) = &stats.cgroup {
        let timestamp = Timestamp::from(cgroup.at).nanos();
        let memory = &cgroup.memory;
        message.cpu = Some(cri::CpuUsage {
            timestamp,
            usage_core_nano_seconds: value(cgroup.cpu.usage_ns),
            ..cri::CpuUsage::default()
        });
        message.memory = Some(cri::MemoryUsage {
            timestamp,
            working_set_bytes: value(memory.working_set),
            available_bytes: memory
                .limit
                .and_then(|limit| value(limit.saturating_sub(memory.working_set))),
            usage_bytes: value(memory.usage),
            rss_bytes: value(memory.rss),
            page_faults: value(memory.page_faults),
            major_page_faults: value(memory.major_page_faults),
            psi: None,
        });
        message.swap = Some(cri::SwapUsage {
            timestamp,
            swap_available_bytes: memory
                .swap_limit
                .and_then(|limit| value(limit.saturating_sub(memory.swap_usage))),
            swap_usage_bytes: value(memory.swap_usage),
        });
    }
    message
}

/// Returns whether a container passes a filter.
pub(crate) fn passes(
    seen: &agent_core::node::Seen,
    filter: Option<&cri::ContainerStatsFilter>,
) -> bool {
    let Some(filter) = filter else {
        return true;
    };
    let record = &seen.container.record;
    record.id.as_str().starts_with(&filter.id)
        && record.sandbox.as_str().starts_with(&filter.pod_sandbox_id)
        && super::selected(&record.spec.labels, &filter.label_selector)
}
