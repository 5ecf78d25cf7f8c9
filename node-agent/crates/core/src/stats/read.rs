//! Answering a reader: from what was sampled, or by asking the kernel.

use std::os::fd::AsFd as _;
use std::sync::{Arc, MutexGuard, PoisonError};

use agent_cgroup::CgroupError;
use agent_network::Counters;

use super::layers;
use super::sampler::Target;
use super::{ContainerStats, Sample, SandboxStats, Traffic};
use crate::sandbox::create::Live;
use crate::sandbox::view::{ContainerView, SandboxView};
use crate::services::Services;
use crate::time::Timestamp;

/// How old a container may be for its layer to be counted while the reader waits: older ones may
/// have written a lot.
const YOUNG: i64 = 30_000_000_000;

pub(super) fn sample_container(
    services: &Services,
    container: &ContainerView,
) -> Result<Option<Arc<Sample>>, CgroupError> {
    let Some(target) = Target::of_container(container) else {
        return Ok(None);
    };
    let sampler = &services.sampler;
    let sample = sampler.sample_container(&services.cgroups, &container.record.id, &target)?;
    Ok(Some(sample))
}

/// A sandbox's sample, with what its network carried.
type SandboxSample = Option<(Arc<Sample>, Option<Arc<Traffic>>)>;

pub(super) fn sample_sandbox(
    services: &Services,
    sandbox: &SandboxView,
) -> Result<SandboxSample, CgroupError> {
    let Some(target) = Target::of_sandbox(sandbox) else {
        return Ok(None);
    };
    let traffic = traffic(sandbox).map(Arc::new);
    let sample = services.sampler.sample_sandbox(
        &services.cgroups,
        &sandbox.record.id,
        &target,
        traffic.clone(),
    )?;
    Ok(Some((sample, traffic)))
}

/// Reads what a sandbox's own network has carried, through a socket that lives no longer than the
/// sandbox does: one that outlived it would keep its network alive. One reader at a time: a second
/// one's request on the same socket is refused, and either may get the refusal.
fn traffic(sandbox: &SandboxView) -> Option<Traffic> {
    let live = sandbox.live.as_ref()?;
    let netns = live.netns.as_ref()?;
    let mut held = counters(live);
    let opened = held
        .take()
        .map_or_else(|| Counters::open(netns.as_fd()), Ok);
    let at = Timestamp::now();
    match opened.and_then(Counters::read) {
        Ok((interfaces, again)) => {
            *held = again;
            Some(Traffic { interfaces, at })
        }
        Err(error) => {
            tracing::debug!(sandbox_id = %sandbox.record.id, error = %error, "network counters not read");
            None
        }
    }
}

/// Closes the socket that a sandbox's network is read through, until there is a reader.
pub(super) fn close(sandbox: &SandboxView) {
    if let Some(live) = &sandbox.live {
        *counters(live) = None;
    }
}

// A panic elsewhere leaves it whole: a socket, or none.
fn counters(live: &Live) -> MutexGuard<'_, Option<Counters>> {
    live.counters.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns what is known of a container without asking the kernel; `None` when it must be asked.
pub(crate) fn known_container(
    services: &Services,
    container: &ContainerView,
) -> Option<ContainerStats> {
    let sampler = &services.sampler;
    let id = &container.record.id;
    let sample = match Target::of_container(container) {
        Some(target) => Some(sampler.container(id, &target)?),
        None => None,
    };
    let layer = sampler.layer(id);
    if layer.is_none() && is_young(container) {
        return None;
    }
    Some(ContainerStats {
        container: container.clone(),
        sample,
        layer,
    })
}

fn is_young(container: &ContainerView) -> bool {
    Timestamp::now().nanos() - container.record.created_at.nanos() < YOUNG
}

/// Whose layers are counted now where they never were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uncounted {
    /// All.
    Count,
    /// Those of young containers, which are small. The others come with the next pass.
    CountYoung,
}

/// Returns what a container uses, asking the kernel where that was not done lately; blocking.
pub(crate) fn container(
    services: &Services,
    container: &ContainerView,
    uncounted: Uncounted,
) -> Result<ContainerStats, CgroupError> {
    let sampler = &services.sampler;
    let id = &container.record.id;
    let target = Target::of_container(container);
    let known = target.and_then(|target| sampler.container(id, &target));
    let sample = match known {
        Some(sample) => Some(sample),
        None => sample_container(services, container)?,
    };
    let mut layer = sampler.layer(id);
    if layer.is_none() && (uncounted == Uncounted::Count || is_young(container)) {
        layer = layers::count(&services.snapshots, id);
        if let Some(layer) = layer {
            sampler.keep_layer(id, layer);
        }
    }
    Ok(ContainerStats {
        container: container.clone(),
        sample,
        layer,
    })
}

/// As [`known_container`], of a sandbox with its running containers.
pub(crate) fn known_sandbox(
    services: &Services,
    sandbox: &Arc<SandboxView>,
) -> Option<SandboxStats> {
    let (sample, traffic) = match Target::of_sandbox(sandbox) {
        Some(target) => {
            let (sample, traffic) = services.sampler.sandbox(&sandbox.record.id, &target)?;
            (Some(sample), traffic)
        }
        None => (None, None),
    };
    let running = sandbox.containers.iter().filter(|one| is_running(one));
    let containers: Option<Vec<_>> = running.map(|one| known_container(services, one)).collect();
    Some(SandboxStats {
        sandbox: Arc::clone(sandbox),
        sample,
        traffic,
        containers: containers?,
    })
}

/// As [`container`], of a sandbox; containers that end meanwhile are left out.
pub(crate) fn sandbox(
    services: &Services,
    sandbox: &Arc<SandboxView>,
    uncounted: Uncounted,
) -> Result<SandboxStats, CgroupError> {
    let sampler = &services.sampler;
    let known =
        Target::of_sandbox(sandbox).and_then(|target| sampler.sandbox(&sandbox.record.id, &target));
    let sampled = match known {
        Some(known) => Some(known),
        None => sample_sandbox(services, sandbox)?,
    };
    let (sample, traffic) = sampled.unzip();
    let running = sandbox.containers.iter().filter(|one| is_running(one));
    let containers = running.filter_map(|one| container(services, one, uncounted).ok());
    Ok(SandboxStats {
        sandbox: Arc::clone(sandbox),
        sample,
        traffic: traffic.flatten(),
        containers: containers.collect(),
    })
}

/// Returns whether a container runs.
pub(crate) fn is_running(container: &ContainerView) -> bool {
    Target::of_container(container).is_some()
}
