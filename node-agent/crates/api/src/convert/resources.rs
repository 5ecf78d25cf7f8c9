//! Limits between CRI and the node. CRI's 0 and empty text mean "leave alone".

use agent_cgroup::Limits;
use proto::cri;

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
    fn zeros_change_nothing() {
        assert_eq!(
            limits(cri::LinuxContainerResources::default()),
            Limits::default()
        );
    }
}
