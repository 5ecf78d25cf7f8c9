//! Changing what a container may use.

use std::collections::HashSet;
use std::sync::Arc;

use agent_cgroup::{Cgroup, Limits};
use agent_sys::procfs::Procfs;

use super::request_error::UpdateError;
use super::spec::{ContainerRecord, ContainerSpec};
use super::state::ContainerState;
use crate::sandbox::view::ContainerView;
use crate::services::{Interrupted, Services, blocking};

/// How often it is looked for processes without their new score.
const SCORE_ROUNDS: usize = 4;

/// What is to change; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What it may use.
    pub limits: Limits,
    /// How soon its processes are chosen when memory runs out, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
}

impl Change {
    /// Puts what changes over what `spec` says.
    pub(crate) fn merge_into(self, spec: &mut ContainerSpec) {
        merge(&mut spec.limits, self.limits);
        spec.oom_score_adj = self.oom_score_adj.or(spec.oom_score_adj);
    }
}

/// Writes limits to a container's cgroup, then its score to its processes.
pub(crate) async fn apply(
    services: &Services,
    record: &ContainerRecord,
    state: &ContainerState,
    change: Change,
) -> Result<(), UpdateError> {
    let id = record.id.clone();
    let Change {
        limits,
        oom_score_adj,
    } = change;
    if let Some(value) = oom_score_adj.filter(|value| !(-1000..=1000).contains(value)) {
        return Err(UpdateError::OomScore { id, value });
    }
    if let ContainerState::Exited(_) = state {
        return Err(UpdateError::Ended { id });
    }
    services
        .cgroups
        .validate(&limits, 0)
        .map_err(|source| UpdateError::Limit {
            id: id.clone(),
            source,
        })?;
    let (tree, path) = (services.cgroups.clone(), record.cgroup.clone());
    blocking(move || {
        let cgroup = tree
            .open_cgroup(&path)
            .map_err(|source| UpdateError::Cgroup {
                id: id.clone(),
                source,
            })?;
        // A person's container that is not started yet has none: the limits hold when it is.
        if let Some(cgroup) = cgroup {
            let updated = cgroup.update(&limits);
            updated.map_err(|source| UpdateError::Write { id, source })?;
            if let Some(score) = oom_score_adj {
                set_score(&cgroup, score);
            }
        }
        Ok(())
    })
    .await?
}

/// Gives every process of a cgroup a score, as far as the kernel grants it: one below ours needs a
/// capability, and is then left as it was, as at the container's start.
fn set_score(cgroup: &Cgroup, score: i32) {
    let Ok(procfs) = Procfs::detached() else {
        return;
    };
    let mut known = HashSet::new();
    // A process that was forked meanwhile has its parent's score, old or new.
    for _ in 0..SCORE_ROUNDS {
        let processes = cgroup.processes().unwrap_or_default();
        let fresh: Vec<u32> = processes
            .into_iter()
            .filter(|pid| known.insert(*pid))
            .collect();
        if fresh.is_empty() {
            return;
        }
        for pid in fresh {
            let file = format!("{pid}/oom_score_adj");
            if let Err(error) = procfs.write(&file, score.to_string().as_bytes()) {
                tracing::debug!(pid, error = %error, "oom score not changed");
            }
        }
    }
}

/// Returns the limits in force: those of its cgroup, where it has one, else those asked for.
pub(crate) async fn in_force(services: &Services, view: &ContainerView) -> Limits {
    let record = Arc::clone(&view.record);
    let tree = services.cgroups.clone();
    let ended = matches!(view.state, ContainerState::Exited(_));
    let read = blocking(move || {
        let asked = &record.spec.limits;
        let cgroup = tree.open_cgroup(&record.cgroup).ok().flatten();
        cgroup
            .filter(|_| !ended)
            .and_then(|cgroup| cgroup.in_force(asked).ok())
            .unwrap_or_else(|| asked.clone())
    });
    match read.await {
        Ok(limits) => limits,
        Err(Interrupted) => view.record.spec.limits.clone(),
    }
}

/// Puts what `changed` says over what `limits` says.
fn merge(limits: &mut Limits, changed: Limits) {
    macro_rules! take {
        ($($field:ident),*) => {
            $(if changed.$field.is_some() { limits.$field = changed.$field; })*
        };
    }
    take!(
        cpu_shares,
        cpu_quota,
        cpu_period,
        cpuset_cpus,
        cpuset_mems,
        memory,
        memory_swap,
        pids
    );
    limits.hugepages.extend(changed.hugepages);
    limits.unified.extend(changed.unified);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays() {
        let mut limits = Limits {
            memory: Some(100),
            cpu_shares: Some(2),
            ..Limits::default()
        };
        let changed = Limits {
            memory: Some(200),
            pids: Some(7),
            ..Limits::default()
        };
        merge(&mut limits, changed);
        assert_eq!(
            (limits.memory, limits.cpu_shares, limits.pids),
            (Some(200), Some(2), Some(7))
        );
    }
}
