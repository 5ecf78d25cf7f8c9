//! Metrics of sandboxes and containers, under the names that users of cAdvisor know.
//!
//! [`catalogue`] has a line for each metric: its name, its labels, and where its values come from.
//! Values are whole numbers, so seconds are those that have passed.

mod catalogue;
mod source;

use std::collections::HashMap;
use std::sync::Arc;

use agent_cgroup::Stats;
use agent_core::container::state::ContainerState;
use agent_core::sandbox::view::SandboxView;
use agent_core::stats::{Capacity, ContainerStats, Detail, Layer, Metrics, SandboxStats, Traffic};
use agent_core::time::Timestamp;
use proto::cri;

use catalogue::METRICS;

/// Labels that every metric has, before its own: cgroup, id, container, image, namespace, pod.
const LABELS: [&str; 6] = ["id", "name", "container", "image", "namespace", "pod"];

/// What a metric may be read from.
struct Subject<'a> {
    stats: &'a Stats,
    capacity: &'a Capacity,
    devices: &'a HashMap<(u32, u32), String>,
    traffic: Option<&'a Traffic>,
    started_at: Timestamp,
    container: Option<Inside<'a>>,
}

/// What only containers have.
struct Inside<'a> {
    stats: &'a ContainerStats,
    layer: Option<&'a Layer>,
    detail: Option<&'a Detail>,
}

/// Takes the values of a metric, each with those of its own labels.
type Take<'t> = &'t mut dyn FnMut(&[&str], u64);

/// A metric.
struct Metric {
    name: &'static str,
    help: &'static str,
    kind: cri::MetricType,
    /// Its own labels.
    labels: &'static [&'static str],
    /// Hands out its values, if the subject has any.
    read: fn(&Subject<'_>, Take<'_>),
}

/// Returns what describes each metric.
pub(crate) fn descriptors() -> Vec<cri::MetricDescriptor> {
    let describe = |metric: &Metric| cri::MetricDescriptor {
        name: metric.name.to_owned(),
        help: metric.help.to_owned(),
        label_keys: LABELS
            .iter()
            .chain(metric.labels)
            .map(|label| (*label).to_owned())
            .collect(),
    };
    METRICS.iter().map(describe).collect()
}

/// Returns the metrics of every sandbox and its running containers.
pub(crate) fn sandboxes(metrics: &Metrics) -> Vec<cri::PodSandboxMetrics> {
    let shown = metrics.sandboxes.iter();
    shown.map(|one| sandbox(metrics, one)).collect()
}

fn sandbox(metrics: &Metrics, stats: &SandboxStats) -> cri::PodSandboxMetrics {
    let record = &stats.sandbox.record;
    let own = stats.sample.as_ref().map(|sample| {
        let cgroup = stats.sandbox.live.as_ref();
        let cgroup = cgroup.map_or_else(String::new, |live| live.cgroup.path.to_string());
        let labels = labels(&stats.sandbox, cgroup, [record.id.as_str(), "", ""]);
        let subject = Subject {
            stats: &sample.stats,
            capacity: &metrics.capacity,
            devices: &metrics.devices,
            traffic: stats.traffic.as_deref(),
            started_at: record.created_at,
            container: None,
        };
        values(&subject, &labels)
    });
    let containers = stats.containers.iter();
    cri::PodSandboxMetrics {
        pod_sandbox_id: record.id.to_string(),
        metrics: own.unwrap_or_default(),
        container_metrics: containers
            .filter_map(|one| container(metrics, &stats.sandbox, one))
            .collect(),
    }
}

fn container(
    metrics: &Metrics,
    sandbox: &Arc<SandboxView>,
    stats: &ContainerStats,
) -> Option<cri::ContainerMetrics> {
    let sample = stats.sample.as_ref()?;
    let ContainerState::Running { started_at, .. } = &stats.container.state else {
        return None;
    };
    let record = &stats.container.record;
    let spec = &record.spec;
    let names = [record.id.as_str(), &spec.metadata.name, spec.image_name()];
    let labels = labels(sandbox, record.cgroup.to_string(), names);
    let subject = Subject {
        stats: &sample.stats,
        capacity: &metrics.capacity,
        devices: &metrics.devices,
        traffic: None,
        started_at: *started_at,
        container: Some(Inside {
            stats,
            layer: stats.layer.as_ref(),
            detail: metrics.details.get(&record.id),
        }),
    };
    Some(cri::ContainerMetrics {
        container_id: record.id.to_string(),
        metrics: values(&subject, &labels),
    })
}

/// Returns the values of [`LABELS`]; `names` are id, container and image.
fn labels(sandbox: &SandboxView, cgroup: String, names: [&str; 3]) -> Vec<String> {
    let metadata = &sandbox.record.spec.metadata;
    let pod = [metadata.namespace.as_str(), metadata.name.as_str()];
    let rest = names.into_iter().chain(pod).map(str::to_owned);
    std::iter::once(cgroup).chain(rest).collect()
}

fn values(subject: &Subject<'_>, labels: &[String]) -> Vec<cri::Metric> {
    let timestamp = Timestamp::from(subject.stats.at).nanos();
    let mut all = Vec::with_capacity(METRICS.len());
    for metric in METRICS {
        let take = &mut |own: &[&str], value: u64| {
            let own = own.iter().map(|label| (*label).to_owned());
            all.push(cri::Metric {
                name: metric.name.to_owned(),
                timestamp,
                metric_type: metric.kind.into(),
                label_values: labels.iter().cloned().chain(own).collect(),
                value: Some(cri::UInt64Value { value }),
            });
        };
        (metric.read)(subject, take);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_cgroup::{CpuStats, DeviceIo, IoStats, MemoryStats, PidsStats, Pressure};
    use agent_network::InterfaceStats;
    use std::collections::BTreeSet;
    use std::time::{Duration, UNIX_EPOCH};

    fn stats() -> Stats {
        Stats {
            at: UNIX_EPOCH + Duration::from_secs(100),
            cpu: CpuStats {
                usage_ns: 5_900_000_000,
                pressure: Some(Pressure::default()),
                ..CpuStats::default()
            },
            memory: MemoryStats {
                usage: 7,
                max_usage: Some(9),
                ..MemoryStats::default()
            },
            pids: PidsStats::default(),
            io: IoStats {
                devices: vec![DeviceIo {
                    major: 8,
                    read_bytes: 11,
                    ..DeviceIo::default()
                }],
                pressure: None,
            },
        }
    }

    #[test]
    fn every_value_has_as_many_labels_as_its_descriptor_says() {
        let stats = stats();
        let traffic = Traffic {
            interfaces: vec![InterfaceStats {
                name: "eth0".to_owned(),
                rx_bytes: 3,
                ..InterfaceStats::default()
            }],
            at: Timestamp::default(),
        };
        let subject = Subject {
            stats: &stats,
            capacity: &Capacity::default(),
            devices: &[((8, 0), "/dev/sda".to_owned())].into(),
            traffic: Some(&traffic),
            started_at: Timestamp(50_000_000_000),
            container: None,
        };
        let labels: Vec<_> = LABELS.iter().map(|label| format!("its {label}")).collect();
        let values = values(&subject, &labels);
        let descriptors = descriptors();
        for value in &values {
            let own = descriptors.iter().find(|one| one.name == value.name);
            let keys = own.map(|one| one.label_keys.len());
            assert_eq!(keys, Some(value.label_values.len()), "{value:?}");
            assert_eq!(value.timestamp, 100_000_000_000);
        }
        let of = |name: &str| {
            let found = values.iter().find(|value| value.name == name);
            let found = found.unwrap_or_else(|| panic!("{name} is missing"));
            (
                found.value.unwrap_or_default().value,
                found.label_values[6..].join(" "),
            )
        };
        assert_eq!(
            of("container_cpu_usage_seconds_total"),
            (5, "total".to_owned())
        );
        assert_eq!(of("container_memory_usage_bytes"), (7, String::new()));
        assert_eq!(
            of("container_fs_reads_bytes_total"),
            (11, "/dev/sda".to_owned())
        );
        assert_eq!(
            of("container_network_receive_bytes_total"),
            (3, "eth0".to_owned())
        );
        assert_eq!(of("container_start_time_seconds"), (50, String::new()));
        assert_eq!(of("container_pressure_cpu_waiting_seconds_total").0, 0);
        assert!(
            !values
                .iter()
                .any(|one| one.name.starts_with("container_pressure_io"))
        );
    }

    #[test]
    fn names_are_unique_and_say_what_kind_they_are() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            let counter = metric.kind == cri::MetricType::Counter;
            // Names are cAdvisor's, which keeps to the rule but for these.
            let odd = ["container_memory_failcnt", "container_fs_inodes_total"];
            let total = metric.name.ends_with("_total") != odd.contains(&metric.name);
            assert_eq!(total, counter, "{}", metric.name);
            assert!(!metric.help.is_empty());
        }
    }
}
