//! Limits, and what happens at them.

use anyhow::{Context as _, Result};
use harness::node::Node;
use proto::cri::{
    HugepageLimit, LinuxContainerResources, PodSandboxStatsRequest,
    UpdateContainerResourcesRequest, UpdatePodSandboxResourcesRequest,
};
use tonic::Code;

const MIB: i64 = 1 << 20;

/// Prints the memory limit, whichever version of cgroups this is.
const MEMORY: &str =
    "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
const SHARES: &str =
    "cat /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null || cat /sys/fs/cgroup/cpu.weight";
const QUOTA: &str =
    "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max";

fn limited(
    node: &Node,
    name: &str,
    command: &[&str],
    resources: LinuxContainerResources,
) -> proto::cri::ContainerConfig {
    let mut config = node.container_config(name, command);
    config.linux.get_or_insert_default().resources = Some(resources);
    config
}

#[tokio::test]
async fn limits_are_set_and_updated() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 64 * MIB,
        cpu_shares: 512,
        cpu_quota: 50_000,
        cpu_period: 100_000,
        ..Default::default()
    };
    let id = node
        .run_of(
            &sandbox,
            &limited(&node, "main", &["/bin/pause"], resources.clone()),
        )
        .await?;
    assert_eq!(node.exec(&id, MEMORY).await?.trim(), (64 * MIB).to_string());
    assert_eq!(node.exec(&id, QUOTA).await?.trim(), "50000");
    assert!(["512", "20"].contains(&node.exec(&id, SHARES).await?.trim()));
    let update = UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(LinuxContainerResources {
            memory_limit_in_bytes: 128 * MIB,
            cpu_quota: 70_000,
            ..resources
        }),
        ..Default::default()
    };
    node.cri
        .runtime
        .clone()
        .update_container_resources(update.clone())
        .await?;
    assert_eq!(
        node.exec(&id, MEMORY).await?.trim(),
        (128 * MIB).to_string()
    );
    assert_eq!(node.exec(&id, QUOTA).await?.trim(), "70000");
    let seen = node
        .cri
        .container_status(&id)
        .await?
        .resources
        .and_then(|all| all.linux)
        .unwrap_or_default();
    assert_eq!(
        (seen.memory_limit_in_bytes, seen.cpu_quota, seen.cpu_shares),
        (128 * MIB, 70_000, 512)
    );
    let score = UpdateContainerResourcesRequest {
        linux: Some(LinuxContainerResources {
            oom_score_adj: 321,
            ..Default::default()
        }),
        ..update.clone()
    };
    let mut runtime = node.cri.runtime.clone();
    runtime.update_container_resources(score).await?;
    let own = node.exec(&id, "cat /proc/1/oom_score_adj").await?;
    assert_eq!(own.trim(), "321");
    let unknown = UpdateContainerResourcesRequest {
        container_id: "0123456789abcdef".repeat(4),
        ..update
    };
    let refused = node
        .cri
        .runtime
        .clone()
        .update_container_resources(unknown)
        .await
        .err()
        .map(|status| status.code());
    assert_eq!(refused, Some(Code::NotFound));
    node.finish().await
}

#[tokio::test]
async fn updates_at_the_same_time_lose_nothing_of_each_other() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    let runtime = node.cri.runtime.clone();
    let update = |resources: LinuxContainerResources| {
        let mut runtime = runtime.clone();
        let request = UpdateContainerResourcesRequest {
            container_id: id.clone(),
            linux: Some(resources),
            ..Default::default()
        };
        async move { runtime.update_container_resources(request).await }
    };
    let mut last = (0, 0);
    for round in 1..=20 {
        last = (round, 1_000 + round);
        let scored = update(LinuxContainerResources {
            oom_score_adj: last.0,
            ..Default::default()
        });
        let shared = update(LinuxContainerResources {
            cpu_shares: last.1,
            ..Default::default()
        });
        let (scored, shared) = tokio::join!(scored, shared);
        scored.and(shared)?;
    }
    // Of a container that has ended the record tells, and the next agent's is the one on disk.
    node.cri.stop_container(&id, 0).await?;
    node.restart().await?;
    let status = node.cri.container_status(&id).await?;
    let seen = status.resources.and_then(|all| all.linux);
    let seen = seen.context("no resources")?;
    assert_eq!((seen.oom_score_adj, seen.cpu_shares), last);
    node.finish().await
}

#[tokio::test]
async fn who_takes_too_much_memory_is_oom_killed() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 16 * MIB,
        ..Default::default()
    };
    // `tail` keeps what it reads until a newline comes.
    let command = ["/bin/sh", "-c", "exec tail /dev/zero"];
    let id = node
        .run_of(&sandbox, &limited(&node, "main", &command, resources))
        .await?;
    let status = node.exited(&id).await?;
    assert_eq!(
        (status.exit_code, status.reason.as_str()),
        (137, "OOMKilled")
    );
    node.finish().await
}

#[tokio::test]
async fn being_killed_is_not_taken_for_out_of_memory() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 64 * MIB,
        ..Default::default()
    };
    let id = node
        .run_of(
            &sandbox,
            &limited(&node, "main", &["/bin/sleep", "1000"], resources),
        )
        .await?;
    node.cri.stop_container(&id, 0).await?;
    let status = node.cri.container_status(&id).await?;
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "Error"));
    node.finish().await
}

#[tokio::test]
async fn limits_that_cannot_be_are_refused_by_create() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    for (name, resources) in [
        (
            "negative-memory",
            LinuxContainerResources {
                memory_limit_in_bytes: -5,
                ..Default::default()
            },
        ),
        (
            "no-such-cpu",
            LinuxContainerResources {
                cpuset_cpus: "4000-5000".to_owned(),
                ..Default::default()
            },
        ),
        (
            "cpus-that-are-no-list",
            LinuxContainerResources {
                cpuset_cpus: "0; rm -rf /".to_owned(),
                ..Default::default()
            },
        ),
        (
            "tiny-period",
            LinuxContainerResources {
                cpu_period: 1,
                cpu_quota: 1,
                ..Default::default()
            },
        ),
    ] {
        let config = limited(&node, name, &["/bin/pause"], resources);
        let refused = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await
            .err();
        assert_eq!(
            refused.map(|status| status.code()),
            Some(Code::InvalidArgument),
            "{name}"
        );
    }
    node.finish().await
}

fn pod_cgroup(node: &Node, sandbox: &str, controller: &str, file: &str) -> Result<String> {
    let parent = &node.agent.slot().names().cgroup;
    let path = format!("/sys/fs/cgroup/{controller}/{parent}/{sandbox}/{file}");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    Ok(text.trim().to_owned())
}

#[tokio::test]
async fn a_pod_as_a_whole_is_limited_and_updated_all_or_nothing() -> Result<()> {
    let node = Node::start().await?;
    let mut config = node.sandbox_config("pod");
    let linux = config.linux.get_or_insert_default();
    linux.resources = Some(LinuxContainerResources {
        memory_limit_in_bytes: 64 * MIB,
        cpu_quota: 50_000,
        cpu_period: 100_000,
        ..Default::default()
    });
    linux.overhead = Some(LinuxContainerResources {
        memory_limit_in_bytes: 16 * MIB,
        ..Default::default()
    });
    let sandbox = node.sandbox_of(config).await?;
    let memory = || pod_cgroup(&node, &sandbox.id, "memory", "memory.limit_in_bytes");
    let quota = || pod_cgroup(&node, &sandbox.id, "cpu", "cpu.cfs_quota_us");
    assert_eq!(memory()?, (80 * MIB).to_string());
    assert_eq!(quota()?, "50000");
    let mut runtime = node.cri.runtime.clone();
    let request = |memory: i64, quota: i64| UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: sandbox.id.clone(),
        overhead: None,
        resources: Some(LinuxContainerResources {
            memory_limit_in_bytes: memory,
            cpu_quota: quota,
            cpu_period: 100_000,
            ..Default::default()
        }),
    };
    runtime
        .update_pod_sandbox_resources(request(128 * MIB, 60_000))
        .await?;
    assert_eq!(
        (memory()?, quota()?),
        ((128 * MIB).to_string(), "60000".to_owned())
    );
    // A container may not have more than the pod: the kernel refuses the quota, and the memory
    // that was written before it is put back.
    let resources = LinuxContainerResources {
        cpu_quota: 55_000,
        cpu_period: 100_000,
        ..Default::default()
    };
    node.run_of(
        &sandbox,
        &limited(&node, "main", &["/bin/pause"], resources),
    )
    .await?;
    let refused = runtime
        .update_pod_sandbox_resources(request(256 * MIB, 40_000))
        .await;
    assert_eq!(
        refused.err().map(|status| status.code()),
        Some(Code::InvalidArgument)
    );
    assert_eq!(
        (memory()?, quota()?),
        ((128 * MIB).to_string(), "60000".to_owned())
    );
    let unknown = UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: "0123456789abcdef".repeat(4),
        ..request(1, 1)
    };
    let refused = runtime.update_pod_sandbox_resources(unknown).await;
    assert_eq!(
        refused.err().map(|status| status.code()),
        Some(Code::NotFound)
    );
    node.finish().await
}

#[tokio::test]
async fn the_status_tells_what_is_in_force_whoever_set_it() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 64 * MIB,
        ..Default::default()
    };
    let id = node
        .run_of(
            &sandbox,
            &limited(&node, "main", &["/bin/pause"], resources),
        )
        .await?;
    let seen = async || -> Result<LinuxContainerResources> {
        let status = node.cri.container_status(&id).await?;
        Ok(status
            .resources
            .and_then(|all| all.linux)
            .unwrap_or_default())
    };
    let before = seen().await?;
    assert_eq!(
        (before.memory_limit_in_bytes, before.cpu_quota),
        (64 * MIB, 0)
    );
    let parent = &node.agent.slot().names().cgroup;
    let file = format!(
        "/sys/fs/cgroup/memory/{parent}/{}/{id}/memory.limit_in_bytes",
        sandbox.id
    );
    std::fs::write(file, (32 * MIB).to_string())?;
    assert_eq!(seen().await?.memory_limit_in_bytes, 32 * MIB);
    node.cri.stop_container(&id, 0).await?;
    assert_eq!(seen().await?.memory_limit_in_bytes, 64 * MIB);
    node.finish().await
}

#[tokio::test]
async fn huge_pages_and_unified_files_are_refused_where_they_cannot_be_counted() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let code = async |name: &str, resources| {
        let config = limited(&node, name, &["/bin/pause"], resources);
        let created = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await;
        created.err().map(|status| status.code())
    };
    let huge = |limit| LinuxContainerResources {
        hugepage_limits: vec![HugepageLimit {
            page_size: "2MB".to_owned(),
            limit,
        }],
        ..Default::default()
    };
    // A kubelet sends zeros for every size.
    assert_eq!(code("zero", huge(0)).await, None);
    assert_eq!(
        code("some", huge(4 << 20)).await,
        Some(Code::InvalidArgument)
    );
    let unified = LinuxContainerResources {
        unified: [("memory.high".to_owned(), "1000000".to_owned())].into(),
        ..Default::default()
    };
    assert_eq!(code("unified", unified).await, Some(Code::InvalidArgument));
    node.finish().await
}

#[tokio::test]
async fn an_oom_score_is_set_as_far_as_the_host_grants_it() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let own: i64 = std::fs::read_to_string("/proc/self/oom_score_adj")?
        .trim()
        .parse()?;
    for (name, wanted) in [("high", 999), ("low", -998)] {
        let resources = LinuxContainerResources {
            oom_score_adj: wanted,
            ..Default::default()
        };
        let config = limited(&node, name, &["/bin/pause"], resources);
        let id = node.run_of(&sandbox, &config).await?;
        let is: i64 = node
            .exec(&id, "cat /proc/1/oom_score_adj")
            .await?
            .trim()
            .parse()?;
        // Below our own is a capability's to give.
        assert!(is == wanted || (wanted < own && is == own), "{name}: {is}");
    }
    node.finish().await
}

#[tokio::test]
async fn a_kubelets_cgroup_of_any_depth_is_used_and_left_alone() -> Result<()> {
    let node = Node::start().await?;
    let kubepods = format!("/{}-kubepods", node.agent.slot().names().cgroup);
    let _cleared = harness::cgroup::Own::new(&kubepods);
    let parent = format!("{kubepods}/burstable/pod1");
    let trees = ["memory", "cpu"];
    let directory = |tree: &str| format!("/sys/fs/cgroup/{tree}{parent}");
    for tree in trees {
        std::fs::create_dir_all(directory(tree))?;
    }
    let mut config = node.sandbox_config("pod");
    let linux = config.linux.get_or_insert_default();
    linux.cgroup_parent.clone_from(&parent);
    // Sums of a kubelet's that leave out what has no limit; it limits its own cgroup itself.
    linux.resources = Some(LinuxContainerResources {
        memory_limit_in_bytes: 8 * MIB,
        ..Default::default()
    });
    let sandbox = node.sandbox_of(config).await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    let limit = |path: &str| std::fs::read_to_string(format!("{path}/memory.limit_in_bytes"));
    assert!(limit(&directory("memory"))?.trim().len() > 12, "no limit");
    let leaf = format!("{}/{id}/cgroup.procs", directory("memory"));
    assert_eq!(std::fs::read_to_string(leaf)?.lines().count(), 1);
    let request = UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: sandbox.id.clone(),
        overhead: None,
        resources: sandbox
            .config
            .linux
            .clone()
            .and_then(|linux| linux.resources),
    };
    let mut runtime = node.cri.runtime.clone();
    runtime.update_pod_sandbox_resources(request).await?;
    assert!(limit(&directory("memory"))?.trim().len() > 12, "no limit");
    node.remove_all().await?;
    for tree in trees {
        let mut path = std::path::PathBuf::from(directory(tree));
        for _ in 0..3 {
            std::fs::remove_dir(&path).with_context(|| format!("{} is left", path.display()))?;
            path.pop();
        }
    }
    node.finish().await
}

#[tokio::test]
async fn a_pod_whose_cgroup_somebody_removed_has_containers_all_the_same() -> Result<()> {
    let node = Node::start().await?;
    let mut config = node.sandbox_config("pod");
    let limits = LinuxContainerResources {
        memory_limit_in_bytes: 64 * MIB,
        ..Default::default()
    };
    config.linux.get_or_insert_default().resources = Some(limits);
    let sandbox = node.sandbox_of(config).await?;
    // Between two containers it is empty, and anybody may.
    let path = format!("{}/{}", node.agent.slot().names().cgroup, sandbox.id);
    harness::cgroup::clear(&path)?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    let memory = pod_cgroup(&node, &sandbox.id, "memory", "memory.limit_in_bytes")?;
    assert_eq!(memory, (64 * MIB).to_string());
    assert_eq!(node.exec(&id, "echo inside").await?, "inside\n");
    let request = PodSandboxStatsRequest {
        pod_sandbox_id: sandbox.id.clone(),
    };
    let stats = node.cri.runtime.clone().pod_sandbox_stats(request).await?;
    let linux = stats.into_inner().stats.and_then(|stats| stats.linux);
    let used = linux.and_then(|linux| linux.memory?.usage_bytes);
    assert!(used.is_some_and(|used| used.value > 0), "{used:?}");
    node.finish().await
}
