//! Changing what a container may use.

use agent_cgroup::Limits;

use super::request_error::UpdateError;
use super::spec::ContainerRecord;
use super::state::ContainerState;
use crate::services::{Services, blocking};

/// Writes limits to a container's cgroup.
pub(crate) async fn apply(
    services: &Services,
    record: &ContainerRecord,
    state: &ContainerState,
    limits: Limits,
) -> Result<(), UpdateError> {
    let id = record.id.clone();
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
        match cgroup {
            Some(cgroup) => cgroup
                .update(&limits)
                .map_err(|source| UpdateError::Write { id, source }),
            // A person's container that is not started yet: the limits hold when it is.
            None => Ok(()),
        }
    })
    .await?
}

/// Puts what `changed` says over what `limits` says.
pub(crate) fn merge(limits: &mut Limits, changed: Limits) {
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
