//! The last sample of everything that runs, and the files they are read from.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agent_cgroup::{CgroupError, CgroupPath, CgroupTree, Meter, Stats};
use agent_types::{ContainerId, SandboxId};
use tokio::sync::Notify;

use super::{Config, Layer, Sample, Traffic};
use crate::container::state::ContainerState;
use crate::sandbox::view::{ContainerView, SandboxView};
use crate::time::Timestamp;

/// How long after the last reading samples go on being taken.
const KEEP: Duration = Duration::from_secs(180);

/// Share of the descriptors that the process may have.
const DESCRIPTORS: u64 = 4;

/// Windows shorter than this tell nothing about processor use.
const SHORTEST_WINDOW: Duration = Duration::from_millis(200);

/// A cgroup to read.
#[derive(Debug)]
pub(super) struct Target {
    path: CgroupPath,
    /// Since when what is in it runs; tells one run of a container from the next.
    since: Timestamp,
}

impl Target {
    /// Returns where a container's use is read; `None` when it does not run.
    pub(super) fn of_container(container: &ContainerView) -> Option<Self> {
        match &container.state {
            ContainerState::Running { started_at, .. } => Some(Self {
                path: container.record.cgroup.clone(),
                since: *started_at,
            }),
            ContainerState::Created | ContainerState::Exited(_) => None,
        }
    }

    /// Returns where a sandbox's use is read; `None` when it does not stand.
    pub(super) fn of_sandbox(sandbox: &SandboxView) -> Option<Self> {
        Some(Self {
            path: sandbox.live.as_ref()?.cgroup.path.clone(),
            since: sandbox.record.created_at,
        })
    }
}

#[derive(Debug, Clone)]
struct Gauge {
    /// `None` where the process has no descriptors to spare.
    meter: Option<Arc<Meter>>,
    since: Timestamp,
    taken: Instant,
    sample: Arc<Sample>,
    traffic: Option<Arc<Traffic>>,
}

#[derive(Debug, Default)]
struct State {
    containers: HashMap<ContainerId, Gauge>,
    sandboxes: HashMap<SandboxId, Gauge>,
    layers: HashMap<ContainerId, Layer>,
    last_read: Option<Instant>,
}

/// Keeps the last sample of each cgroup. No lock is held while the kernel is asked.
#[derive(Debug)]
pub struct Sampler {
    config: Config,
    state: Mutex<State>,
    /// Descriptors that may be kept.
    budget: usize,
    pub(super) read: Notify,
    pub(super) layers_read: Notify,
}

impl Sampler {
    /// Returns a sampler that has read nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let share = limit.unwrap_or(u64::MAX) / DESCRIPTORS;
        Self {
            config,
            state: Mutex::default(),
            budget: usize::try_from(share).unwrap_or(usize::MAX),
            read: Notify::new(),
            layers_read: Notify::new(),
        }
    }

    pub(super) fn period(&self) -> Duration {
        self.config.period
    }

    // A panic elsewhere leaves the maps whole: each change is one insertion or removal.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that somebody reads, and has sampling begin where it rests.
    pub(crate) fn note_reader(&self) {
        let before = self.state().last_read.replace(Instant::now());
        if before.is_none_or(|at| at.elapsed() > self.keep()) {
            self.read.notify_one();
            self.layers_read.notify_one();
        }
    }

    /// Returns whether somebody has read lately.
    pub(super) fn is_read(&self) -> bool {
        let last = self.state().last_read;
        last.is_some_and(|at| at.elapsed() <= self.keep())
    }

    fn keep(&self) -> Duration {
        KEEP.max(3 * self.config.period)
    }

    /// Closes every file. Counted layers are kept: counting them again is dear.
    pub(super) fn rest(&self) {
        let mut state = self.state();
        state.containers = HashMap::new();
        state.sandboxes = HashMap::new();
    }

    /// Forgets whom the last pass has not seen; the files of what has ended are closed.
    pub(super) fn retain(&self, sandboxes: &[Arc<SandboxView>]) {
        let standing: HashSet<&SandboxId> = sandboxes
            .iter()
            .filter(|one| Target::of_sandbox(one).is_some())
            .map(|one| &one.record.id)
            .collect();
        let containers = || sandboxes.iter().flat_map(|sandbox| &sandbox.containers);
        let running: HashSet<&ContainerId> = containers()
            .filter(|one| Target::of_container(one).is_some())
            .map(|one| &one.record.id)
            .collect();
        let all: HashSet<&ContainerId> = containers().map(|one| &one.record.id).collect();
        let mut state = self.state();
        state.sandboxes.retain(|id, _| standing.contains(id));
        state.containers.retain(|id, _| running.contains(id));
        state.layers.retain(|id, _| all.contains(id));
    }

    /// Returns a container's last sample, if it is not older than samples get.
    pub(super) fn container(&self, id: &ContainerId, target: &Target) -> Option<Arc<Sample>> {
        let state = self.state();
        let gauge = self.fresh(&state.containers, id, target)?;
        Some(Arc::clone(&gauge.sample))
    }

    /// As [`Sampler::container`], of a sandbox, with what its network carried.
    pub(super) fn sandbox(
        &self,
        id: &SandboxId,
        target: &Target,
    ) -> Option<(Arc<Sample>, Option<Arc<Traffic>>)> {
        let state = self.state();
        let gauge = self.fresh(&state.sandboxes, id, target)?;
        Some((Arc::clone(&gauge.sample), gauge.traffic.clone()))
    }

    fn fresh<'a, K: Hash + Eq>(
        &self,
        gauges: &'a HashMap<K, Gauge>,
        id: &K,
        target: &Target,
    ) -> Option<&'a Gauge> {
        let fits = |gauge: &&Gauge| {
            gauge.since == target.since && gauge.taken.elapsed() <= 2 * self.config.period
        };
        gauges.get(id).filter(fits)
    }

    /// Reads a container's cgroup and keeps the sample; blocking.
    ///
    /// # Errors
    /// [`CgroupError::NotFound`] when it is gone.
    pub(super) fn sample_container(
        &self,
        tree: &CgroupTree,
        id: &ContainerId,
        target: &Target,
    ) -> Result<Arc<Sample>, CgroupError> {
        let before = self.state().containers.get(id).cloned();
        let gauge = self.take(tree, target, before)?;
        let sample = Arc::clone(&gauge.sample);
        self.state().containers.insert(id.clone(), gauge);
        Ok(sample)
    }

    /// As [`Sampler::sample_container`], of a sandbox; `traffic` is what its network carried.
    pub(super) fn sample_sandbox(
        &self,
        tree: &CgroupTree,
        id: &SandboxId,
        target: &Target,
        traffic: Option<Arc<Traffic>>,
    ) -> Result<Arc<Sample>, CgroupError> {
        let before = self.state().sandboxes.get(id).cloned();
        let mut gauge = self.take(tree, target, before)?;
        gauge.traffic = traffic;
        let sample = Arc::clone(&gauge.sample);
        self.state().sandboxes.insert(id.clone(), gauge);
        Ok(sample)
    }

    fn take(
        &self,
        tree: &CgroupTree,
        target: &Target,
        before: Option<Gauge>,
    ) -> Result<Gauge, CgroupError> {
        let before = before.filter(|gauge| gauge.since == target.since);
        let kept = before.as_ref().and_then(|gauge| gauge.meter.clone());
        let read = kept.and_then(|meter| Some((meter.read().ok()?, meter)));
        let (stats, meter) = match read {
            Some((stats, meter)) => (stats, Some(meter)),
            None => {
                let gone = || CgroupError::NotFound {
                    path: target.path.clone(),
                };
                let meter = tree.open_cgroup(&target.path)?.ok_or_else(gone)?.meter()?;
                let stats = meter.read()?;
                (stats, self.may_keep(&meter).then(|| Arc::new(meter)))
            }
        };
        let nano_cores = {
            let before = before.as_ref().map(|gauge| gauge.sample.as_ref());
            nano_cores(&stats, target.since, before)
        };
        Ok(Gauge {
            meter,
            since: target.since,
            taken: Instant::now(),
            sample: Arc::new(Sample { stats, nano_cores }),
            traffic: None,
        })
    }

    fn may_keep(&self, meter: &Meter) -> bool {
        let state = self.state();
        let kept = state.containers.values().chain(state.sandboxes.values());
        let kept = kept.filter(|gauge| gauge.meter.is_some()).count();
        kept.saturating_add(1)
            .saturating_mul(meter.descriptors())
            .le(&self.budget)
    }

    pub(super) fn layer(&self, id: &ContainerId) -> Option<Layer> {
        self.state().layers.get(id).copied()
    }

    pub(super) fn keep_layer(&self, id: &ContainerId, layer: Layer) {
        self.state().layers.insert(id.clone(), layer);
    }
}

/// Returns the processor use since the sample before, or since the start where there is none.
fn nano_cores(stats: &Stats, since: Timestamp, before: Option<&Sample>) -> u64 {
    let (used, from) = match before {
        Some(Sample {
            stats: earlier,
            nano_cores,
        }) => {
            let window = stats.at.duration_since(earlier.at).unwrap_or_default();
            if window < SHORTEST_WINDOW {
                return *nano_cores;
            }
            let used = stats.cpu.usage_ns.saturating_sub(earlier.cpu.usage_ns);
            (used, Timestamp::from(earlier.at))
        }
        None => (stats.cpu.usage_ns, since),
    };
    let window = Timestamp::from(stats.at).nanos() - from.nanos();
    let window = u128::try_from(window.max(1)).unwrap_or(1);
    u64::try_from(u128::from(used) * 1_000_000_000 / window).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_cgroup::{CpuStats, IoStats, MemoryStats, PidsStats};
    use std::time::UNIX_EPOCH;

    fn stats(milliseconds: u64, usage_ns: u64) -> Stats {
        Stats {
            at: UNIX_EPOCH + Duration::from_millis(milliseconds),
            cpu: CpuStats {
                usage_ns,
                ..CpuStats::default()
            },
            memory: MemoryStats::default(),
            pids: PidsStats::default(),
            io: IoStats::default(),
        }
    }

    fn at(milliseconds: u64) -> Timestamp {
        (UNIX_EPOCH + Duration::from_millis(milliseconds)).into()
    }

    #[test]
    fn processor_use_is_that_since_the_sample_before_or_since_the_start() {
        let first = stats(3_000, 1_000_000_000);
        // A second of processor time in two seconds of life.
        let used = nano_cores(&first, at(1_000), None);
        assert_eq!(used, 500_000_000);
        let first = Sample {
            stats: first,
            nano_cores: used,
        };
        let second = stats(5_000, 4_000_000_000);
        assert_eq!(nano_cores(&second, at(1_000), Some(&first)), 1_500_000_000);
        let hasty = stats(3_001, 1_001_000_000);
        assert_eq!(nano_cores(&hasty, at(1_000), Some(&first)), used);
        // A clock that was set back.
        assert_eq!(nano_cores(&stats(0, 0), at(1_000), Some(&first)), used);
    }

    #[test]
    fn sampling_begins_with_the_first_reader() {
        let sampler = Sampler::new(Config::default());
        assert!(!sampler.is_read());
        sampler.note_reader();
        assert!(sampler.is_read());
    }
}
