//! How long the parts of operations take, and what the node holds.

use std::fmt;
use std::time::{Instant, SystemTime};

use agent_telemetry::metrics::{
    Collector, ConstGauge, DescriptorEncoder, EncodeMetric, Family, Histogram, Label, MetricType,
    Registry, seconds,
};
use agent_types::Owner;
use tracing::Instrument as _;

use crate::container::state::ContainerState;
use crate::node::Node;
use crate::sandbox::state::SandboxPhase;

/// A part of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A pod waits for its turn.
    PodQueue,
    /// Its address and ports are set aside.
    PodPlan,
    /// It is recorded what it is about to own, and that it stands.
    PodRecord,
    /// Its shim is started and makes its namespaces; its cgroup and files are made.
    PodLaunch,
    /// Of that: the shim.
    PodShim,
    /// Of that: cgroup and files.
    PodCgroup,
    /// It is joined to its network.
    PodNetwork,
    /// A pod's shim ends its containers and itself.
    StopShim,
    /// Its network is taken down.
    StopNetwork,
    /// Its cgroups are removed.
    StopCgroup,
    /// A container's specification is built, and its volumes are taken.
    ContainerPlan,
    /// Its cgroup and its writable layer are made.
    ContainerMake,
    /// Of that: the cgroup.
    ContainerCgroup,
    /// Of that: the writable layer.
    ContainerLayer,
    /// Its process is cloned, and mounts its file systems.
    ContainerCreate,
    /// Of that: the process is cloned.
    ContainerClone,
    /// Of that: it joins its cgroup and the sandbox's namespaces.
    ContainerJoin,
    /// Of that: it mounts its root and its volumes.
    ContainerMount,
    /// Its program is executed.
    ContainerStart,
    /// A further process is executed in a container.
    ExecStart,
    /// It runs, and its output is read.
    ExecRun,
    /// A registry is asked what a reference means.
    PullResolve,
    /// Manifest and configuration are fetched.
    PullManifest,
    /// Layers are fetched and unpacked.
    PullLayers,
    /// Of that: one layer is fetched.
    PullFetch,
    /// Of that: one layer is unpacked, from its first byte on.
    PullUnpack,
    /// The image is recorded.
    PullRecord,
}

/// A histogram for each phase of an operation.
struct Operation {
    name: &'static str,
    help: &'static str,
    phases: &'static [(Phase, &'static str)],
}

/// The operations; phases in the order of [`Phase`].
const OPERATIONS: [Operation; 5] = [
    Operation {
        name: "node_agent_pod_start_phase_seconds",
        help: "Time that each phase of making a pod's sandbox took",
        phases: &[
            (Phase::PodQueue, "queue"),
            (Phase::PodPlan, "plan"),
            (Phase::PodRecord, "record"),
            (Phase::PodLaunch, "launch"),
            (Phase::PodShim, "shim"),
            (Phase::PodCgroup, "cgroup"),
            (Phase::PodNetwork, "network"),
        ],
    },
    Operation {
        name: "node_agent_pod_stop_phase_seconds",
        help: "Time that each phase of taking a pod's sandbox down took",
        phases: &[
            (Phase::StopShim, "shim"),
            (Phase::StopNetwork, "network"),
            (Phase::StopCgroup, "cgroup"),
        ],
    },
    Operation {
        name: "node_agent_container_start_phase_seconds",
        help: "Time that each phase of creating and starting a container took",
        phases: &[
            (Phase::ContainerPlan, "plan"),
            (Phase::ContainerMake, "make"),
            (Phase::ContainerCgroup, "cgroup"),
            (Phase::ContainerLayer, "layer"),
            (Phase::ContainerCreate, "create"),
            (Phase::ContainerClone, "clone"),
            (Phase::ContainerJoin, "join"),
            (Phase::ContainerMount, "mount"),
            (Phase::ContainerStart, "start"),
        ],
    },
    Operation {
        name: "node_agent_exec_phase_seconds",
        help: "Time that each phase of running a process in a container took",
        phases: &[(Phase::ExecStart, "start"), (Phase::ExecRun, "run")],
    },
    Operation {
        name: "node_agent_image_pull_phase_seconds",
        help: "Time that each phase of pulling an image took",
        phases: &[
            (Phase::PullResolve, "resolve"),
            (Phase::PullManifest, "manifest"),
            (Phase::PullLayers, "layers"),
            (Phase::PullFetch, "fetch"),
            (Phase::PullUnpack, "unpack"),
            (Phase::PullRecord, "record"),
        ],
    },
];

type Histograms = Family<[Label; 1], Histogram, fn() -> Histogram>;

/// A histogram for each phase.
#[derive(Debug, Clone)]
pub struct Phases(Vec<(&'static str, Histogram)>);

impl Phases {
    /// Makes the histograms and adds them to `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let mut all = Vec::new();
        for operation in OPERATIONS {
            let family = Histograms::new_with_constructor(seconds);
            for (phase, name) in operation.phases {
                debug_assert_eq!(*phase as usize, all.len());
                let histogram = family.get_or_create(&[("phase", name)]).clone();
                all.push((*name, histogram));
            }
            registry.register(operation.name, operation.help, family);
        }
        Self(all)
    }

    /// Does a part of an operation, in a span of its own, and notes how long it took.
    pub(crate) async fn time<T>(&self, phase: Phase, work: impl Future<Output = T>) -> T {
        let Some((name, histogram)) = self.0.get(phase as usize) else {
            return work.await;
        };
        let span = tracing::debug_span!("phase", otel.name = name);
        let begun = Instant::now();
        let done = work.instrument(span).await;
        histogram.observe(begun.elapsed().as_secs_f64());
        done
    }

    /// Notes how long a part took that somebody else has done, who told when; it gets a span too.
    pub(crate) fn took(&self, phase: Phase, from: SystemTime, to: SystemTime) {
        let Some((name, histogram)) = self.0.get(phase as usize) else {
            return;
        };
        // A clock that was set back meanwhile says nothing.
        if let Ok(elapsed) = to.duration_since(from) {
            histogram.observe(elapsed.as_secs_f64());
            agent_telemetry::past_span(name, from, to);
        }
    }
}

/// What the node holds at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    /// Sandboxes of kubelets and of people, ready and not.
    sandboxes: [[u64; 2]; 2],
    /// Containers of kubelets and of people: created, running, exited.
    containers: [[u64; 3]; 2],
    images: u64,
    addresses: u64,
    addresses_in_use: u64,
    readers: u64,
}

/// Tells what the node holds, whenever it is asked.
pub struct Held(Box<dyn Fn() -> Counts + Send + Sync>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Held {
    /// Adds what `node` holds to `registry`; of no node: that there is nothing.
    pub fn register(node: Option<Node>, registry: &mut Registry) {
        let count = move || node.as_ref().map_or_else(Counts::default, Counts::of);
        registry.register_collector(Box::new(Self(Box::new(count))));
    }
}

fn owner(owner: Owner) -> usize {
    match owner {
        Owner::Cri => 0,
        Owner::Local => 1,
    }
}

const OWNERS: [&str; 2] = ["cri", "local"];

impl Counts {
    fn of(node: &Node) -> Self {
        let status = node.services.network.status();
        let mut counts = Self {
            images: number(node.images().list().len()),
            addresses: status.addresses.into(),
            addresses_in_use: number(status.addresses_in_use),
            readers: number(node.services.events.readers()),
            ..Self::default()
        };
        for handle in node.index.sandboxes(None) {
            let view = handle.view();
            let whose = owner(view.record.spec.owner);
            let ready = usize::from(view.phase != SandboxPhase::Ready);
            counts.sandboxes[whose][ready] += 1;
            for container in &view.containers {
                let state = match container.state {
                    ContainerState::Created => 0,
                    ContainerState::Running { .. } => 1,
                    ContainerState::Exited(_) => 2,
                };
                counts.containers[whose][state] += 1;
            }
        }
        counts
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn family<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    states: [&'static str; N],
    counts: [[u64; N]; 2],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (owner, counts) in OWNERS.into_iter().zip(counts) {
        for (state, count) in states.into_iter().zip(counts) {
            let labels = [("owner", owner), ("state", state)];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

impl Collector for Held {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = (self.0)();
        let sandboxes = ("node_agent_sandboxes", "Sandboxes by owner and state");
        family(
            &mut encoder,
            sandboxes,
            ["ready", "not_ready"],
            counts.sandboxes,
        )?;
        let containers = ("node_agent_containers", "Containers by owner and state");
        let states = ["created", "running", "exited"];
        family(&mut encoder, containers, states, counts.containers)?;
        let single = [
            ("node_agent_images", "Images", counts.images),
            (
                "node_agent_network_addresses",
                "Addresses that the built-in network has for sandboxes",
                counts.addresses,
            ),
            (
                "node_agent_network_addresses_in_use",
                "Addresses of the built-in network that are in use, with the one kept ready",
                counts.addresses_in_use,
            ),
            (
                "node_agent_event_readers",
                "Clients that follow events",
                counts.readers,
            ),
        ];
        for (name, help, count) in single {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(count).encode(gauge)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_phase_has_its_histogram() {
        let mut registry = Registry::default();
        let phases = Phases::register(&mut registry);
        assert_eq!(phases.0.len(), Phase::PullRecord as usize + 1);
        assert_eq!(phases.time(Phase::ExecRun, async { 7 }).await, 7);
        let text = agent_telemetry::metrics::text(&registry).unwrap();
        assert!(
            text.contains("node_agent_exec_phase_seconds_count{phase=\"run\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("node_agent_exec_phase_seconds_count{phase=\"start\"} 0"),
            "{text}"
        );
    }

    #[test]
    fn an_empty_node_holds_nothing_of_everything() {
        let mut registry = Registry::default();
        Held::register(None, &mut registry);
        let text = agent_telemetry::metrics::text(&registry).unwrap();
        for line in [
            "node_agent_sandboxes{owner=\"cri\",state=\"not_ready\"} 0",
            "node_agent_containers{owner=\"local\",state=\"exited\"} 0",
            "node_agent_images 0",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
