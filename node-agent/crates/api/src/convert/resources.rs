//! Limits between CRI and the node. CRI's 0 and empty text mean "leave alone".

use agent_cgroup::Limits;
use agent_core::container::Change;
use proto::cri;
use tonic::Status;

use crate::status::invalid;

/// Returns the limits a message carries.
pub(crate) fn limits(resources: cri::LinuxContainerResources) -> Limits {
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let present = |value: i64| (value != 0).then_some(value);
    Limits {
        cpu_shares: positive(resources.cpu_shares),
        cpu_quota: present(resources.cpu_quota),
        cpu_period: positive(resources.cpu_period),
        cpuset_cpus: super::given(resources.cpuset_cpus),
        cpuset_mems: super::given(resources.cpuset_mems),
        memory: present(resources.memory_limit_in_bytes),
        memory_swap: present(resources.memory_swap_limit_in_bytes),
        pids: None,
        hugepages: resources
            .hugepage_limits
            .into_iter()
            .map(|limit| (limit.page_size, limit.limit))
            .collect(),
        unified: resources.unified.into_iter().collect(),
    }
}

/// Returns the preference of the OOM killer that a message carries.
pub(crate) fn oom_score(resources: &cri::LinuxContainerResources) -> Result<i32, Status> {
    i32::try_from(resources.oom_score_adj).map_err(|_| invalid("oom_score_adj is out of range"))
}

/// Returns what a container is to change to. A score of 0 is one that nobody has named.
pub(crate) fn change(resources: cri::LinuxContainerResources) -> Result<Change, Status> {
    let score = oom_score(&resources)?;
    Ok(Change {
        limits: limits(resources),
        oom_score_adj: (score != 0).then_some(score),
    })
}

/// Returns the limits of a pod as a whole: what its containers may use together, and what running
/// them takes besides. Overhead alone limits nothing.
pub(crate) fn of_pod(
    overhead: Option<cri::LinuxContainerResources>,
    resources: Option<cri::LinuxContainerResources>,
) -> Limits {
    let mut all = resources.unwrap_or_default();
    let more = overhead.unwrap_or_default();
    let add = |to: &mut i64, value: i64| {
        if *to > 0 && value > 0 {
            *to = to.saturating_add(value);
        }
    };
    add(&mut all.memory_limit_in_bytes, more.memory_limit_in_bytes);
    add(
        &mut all.memory_swap_limit_in_bytes,
        more.memory_swap_limit_in_bytes,
    );
    add(&mut all.cpu_shares, more.cpu_shares);
    if all.cpu_period > 0 && more.cpu_period > 0 {
        let quota =
            i128::from(more.cpu_quota) * i128::from(all.cpu_period) / i128::from(more.cpu_period);
        add(&mut all.cpu_quota, i64::try_from(quota).unwrap_or(i64::MAX));
    }
    for limit in &mut all.hugepage_limits {
        let sizes = more.hugepage_limits.iter();
        let same = sizes.filter(|other| other.page_size == limit.page_size);
        limit.limit = same.fold(limit.limit, |sum, other| sum.saturating_add(other.limit));
    }
    limits(all)
}

/// Returns limits as ContainerStatus shows them.
pub(crate) fn shown(limits: &Limits, oom_score_adj: Option<i32>) -> cri::ContainerResources {
    let signed =
        |value: Option<u64>| value.map_or(0, |value| i64::try_from(value).unwrap_or(i64::MAX));
    let linux = cri::LinuxContainerResources {
        cpu_period: signed(limits.cpu_period),
        cpu_quota: limits.cpu_quota.unwrap_or_default(),
        cpu_shares: signed(limits.cpu_shares),
        memory_limit_in_bytes: limits.memory.unwrap_or_default(),
        oom_score_adj: i64::from(oom_score_adj.unwrap_or_default()),
        cpuset_cpus: limits.cpuset_cpus.clone().unwrap_or_default(),
        cpuset_mems: limits.cpuset_mems.clone().unwrap_or_default(),
        hugepage_limits: limits
            .hugepages
            .iter()
            .map(|(page_size, limit)| cri::HugepageLimit {
                page_size: page_size.clone(),
                limit: *limit,
            })
            .collect(),
        unified: limits
            .unified
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        memory_swap_limit_in_bytes: limits.memory_swap.unwrap_or_default(),
    };
    cri::ContainerResources {
        linux: Some(linux),
        windows: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_come_back_as_they_went() {
        let message = cri::LinuxContainerResources {
            cpu_period: 100_000,
            cpu_quota: 50_000,
            cpu_shares: 512,
            memory_limit_in_bytes: 1 << 30,
            oom_score_adj: 7,
            cpuset_cpus: "0-1".to_owned(),
            cpuset_mems: "0".to_owned(),
            hugepage_limits: vec![cri::HugepageLimit {
                page_size: "2MB".to_owned(),
                limit: 4 << 20,
            }],
            unified: [("memory.high".to_owned(), "max".to_owned())].into(),
            memory_swap_limit_in_bytes: 2 << 30,
        };
        let back = shown(&limits(message.clone()), Some(7));
        assert_eq!(back.linux, Some(message));
    }

    #[test]
    fn a_pod_may_use_what_its_containers_may_and_the_overhead() {
        let resources = cri::LinuxContainerResources {
            cpu_period: 100_000,
            cpu_quota: 50_000,
            cpu_shares: 512,
            memory_limit_in_bytes: 1 << 30,
            ..cri::LinuxContainerResources::default()
        };
        let overhead = cri::LinuxContainerResources {
            cpu_period: 50_000,
            cpu_quota: 5_000,
            cpu_shares: 100,
            memory_limit_in_bytes: 1 << 20,
            ..cri::LinuxContainerResources::default()
        };
        let sum = of_pod(Some(overhead.clone()), Some(resources));
        assert_eq!(
            (sum.cpu_quota, sum.cpu_period, sum.cpu_shares, sum.memory),
            (
                Some(60_000),
                Some(100_000),
                Some(612),
                Some((1 << 30) + (1 << 20))
            )
        );
        let unlimited = cri::LinuxContainerResources {
            memory_limit_in_bytes: -1,
            ..cri::LinuxContainerResources::default()
        };
        assert_eq!(of_pod(Some(overhead), Some(unlimited)).memory, Some(-1));
    }

    #[test]
    fn zeros_change_nothing() {
        assert_eq!(
            limits(cri::LinuxContainerResources::default()),
            Limits::default()
        );
    }
}
