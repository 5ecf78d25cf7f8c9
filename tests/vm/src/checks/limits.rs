//! Limits with the systemd driver.

use anyhow::{Result, ensure};
use proto::cri::{
    HugepageLimit, LinuxContainerResources, UpdateContainerResourcesRequest,
    UpdatePodSandboxResourcesRequest,
};
use tonic::Code;

use crate::guest::{Guest, OWN, cgroup, sh};

const MIB: i64 = 1 << 20;

fn everything() -> LinuxContainerResources {
    LinuxContainerResources {
        memory_limit_in_bytes: 64 * MIB,
        memory_swap_limit_in_bytes: 96 * MIB,
        cpu_shares: 512,
        cpu_quota: 12_300,
        cpu_period: 50_000,
        cpuset_cpus: "0".to_owned(),
        cpuset_mems: "0".to_owned(),
        hugepage_limits: vec![HugepageLimit {
            page_size: "2MB".to_owned(),
            limit: 4 << 20,
        }],
        unified: [
            ("memory.high".to_owned(), "62914560".to_owned()),
            ("pids.max".to_owned(), "77".to_owned()),
        ]
        .into(),
        ..LinuxContainerResources::default()
    }
}

fn holds(path: &str) -> Result<()> {
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.swap.max", "33554432"),
        ("memory.high", "62914560"),
        ("cpu.weight", "20"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("hugetlb.2MB.max", "4194304"),
        ("hugetlb.2MB.rsvd.max", "4194304"),
        ("pids.max", "77"),
    ] {
        let is = cgroup(path, file)?;
        ensure!(is == value, "{file} is {is}, not {value}");
    }
    Ok(())
}

pub(super) async fn hold_and_survive_a_reload_of_systemd(guest: &mut Guest) -> Result<()> {
    let sandbox = guest.sandbox("pod", "").await?;
    let config = guest.container("main", &["/bin/pause"], everything());
    let id = guest.run(&sandbox, &config).await?;
    let path = format!(
        "{OWN}/node-agent-{}.slice/node-agent-{id}.scope",
        sandbox.id
    );
    holds(&path)?;
    ensure!(cgroup(&path, "cpu.max")? == "12300 50000");
    sh("systemctl daemon-reload")?;
    holds(&path)?;
    // systemd keeps whole hundredths of a processor, rounded up.
    let quota = cgroup(&path, "cpu.max")?;
    ensure!(
        ["12300 50000", "12500 50000"].contains(&quota.as_str()),
        "{quota}"
    );
    let unit = format!("node-agent-{id}.scope");
    let shown = sh(&format!(
        "systemctl show -p Delegate -p MemoryMax -p Slice {unit}"
    ))?;
    for line in ["Delegate=yes", "MemoryMax=67108864"] {
        ensure!(shown.contains(line), "{shown}");
    }
    let seen = guest.cri.container_status(&id).await?;
    let seen = seen.resources.and_then(|all| all.linux).unwrap_or_default();
    ensure!(
        seen.memory_limit_in_bytes == 64 * MIB && seen.memory_swap_limit_in_bytes == 96 * MIB,
        "{seen:?}"
    );
    ensure!(
        seen.cpu_shares == 512 && seen.cpuset_cpus == "0",
        "{seen:?}"
    );
    ensure!(seen.unified == everything().unified, "{seen:?}");
    Ok(())
}

pub(super) async fn change_all_or_nothing(guest: &mut Guest) -> Result<()> {
    let sandbox = guest.sandbox("pod", "").await?;
    let config = guest.container("main", &["/bin/pause"], everything());
    let id = guest.run(&sandbox, &config).await?;
    let path = format!(
        "{OWN}/node-agent-{}.slice/node-agent-{id}.scope",
        sandbox.id
    );
    let mut runtime = guest.cri.runtime.clone();
    let request = |linux| UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(linux),
        ..Default::default()
    };
    // The last of the files refuses what is written to it.
    let refused = LinuxContainerResources {
        memory_limit_in_bytes: 128 * MIB,
        memory_swap_limit_in_bytes: 128 * MIB,
        cpu_shares: 2048,
        unified: [("memory.oom.group".to_owned(), "no number".to_owned())].into(),
        ..Default::default()
    };
    let code = runtime.update_container_resources(request(refused)).await;
    let code = code.err().map(|status| status.code());
    ensure!(code == Some(Code::InvalidArgument), "{code:?}");
    holds(&path)?;
    sh("systemctl daemon-reload")?;
    holds(&path)?;
    let good = LinuxContainerResources {
        memory_limit_in_bytes: 128 * MIB,
        memory_swap_limit_in_bytes: 128 * MIB,
        cpu_quota: 20_000,
        cpu_period: 100_000,
        ..Default::default()
    };
    runtime.update_container_resources(request(good)).await?;
    sh("systemctl daemon-reload")?;
    for (file, value) in [
        ("memory.max", "134217728"),
        ("memory.swap.max", "0"),
        ("cpu.max", "20000 100000"),
        ("cpu.weight", "20"),
        ("pids.max", "77"),
    ] {
        let is = cgroup(&path, file)?;
        ensure!(is == value, "{file} is {is}, not {value}");
    }
    Ok(())
}

/// As a kubelet sends them for a container of which nothing is limited.
pub(super) async fn may_name_a_period_alone(guest: &mut Guest) -> Result<()> {
    let sandbox = guest.sandbox("pod", "").await?;
    let resources = LinuxContainerResources {
        cpu_period: 100_000,
        cpu_shares: 2,
        hugepage_limits: vec![HugepageLimit {
            page_size: "2MB".to_owned(),
            limit: 0,
        }],
        ..Default::default()
    };
    let config = guest.container("main", &["/bin/pause"], resources);
    let id = guest.run(&sandbox, &config).await?;
    let path = format!(
        "{OWN}/node-agent-{}.slice/node-agent-{id}.scope",
        sandbox.id
    );
    ensure!(cgroup(&path, "cpu.max")? == "max 100000");
    ensure!(cgroup(&path, "cpu.weight")? == "1");
    ensure!(cgroup(&path, "hugetlb.2MB.max")? == "0");
    Ok(())
}

/// Many times: systemd takes a scope away as soon as its last process has ended.
pub(super) async fn who_takes_too_much_memory_is_oom_killed(guest: &mut Guest) -> Result<()> {
    let sandbox = guest.sandbox("pod", "").await?;
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 16 * MIB,
        memory_swap_limit_in_bytes: 16 * MIB,
        ..Default::default()
    };
    for attempt in 0..4 {
        let command = ["/bin/sh", "-c", "exec tail /dev/zero"];
        let config = guest.container(&format!("main{attempt}"), &command, resources.clone());
        let id = guest.run(&sandbox, &config).await?;
        let status = guest.exited(&id).await?;
        ensure!(
            (status.exit_code, status.reason.as_str()) == (137, "OOMKilled"),
            "attempt {attempt}: {status:?}"
        );
    }
    let config = guest.container("killed", &["/bin/pause"], resources);
    let id = guest.run(&sandbox, &config).await?;
    guest.cri.stop_container(&id, 0).await?;
    let status = guest.exited(&id).await?;
    ensure!(status.reason == "Error", "{status:?}");
    Ok(())
}

/// The stand-in that a scope begins with is one process, and must not be counted for another.
pub(super) async fn of_processes_count_none_of_ours(guest: &mut Guest) -> Result<()> {
    let id = sh(&format!(
        "ctl run -d --name few --pids-limit 1 {} pause",
        guest.image
    ))?;
    let id = id.trim();
    let path = sh(&format!(
        "find /sys/fs/cgroup -name 'node-agent-{id}.scope'"
    ))?;
    let path = path
        .trim()
        .strip_prefix(crate::guest::CGROUPS)
        .unwrap_or_default();
    ensure!(cgroup(path, "pids.max")? == "1");
    ensure!(cgroup(path, "pids.current")? == "1");
    sh("systemctl daemon-reload")?;
    ensure!(cgroup(path, "pids.max")? == "1");
    sh("ctl rm -f few")?;
    Ok(())
}

pub(super) async fn of_a_pod_of_the_nodes_own(guest: &mut Guest) -> Result<()> {
    let logs = std::path::Path::new("/var/log/pods");
    let mut config = harness::pod::sandbox_config("pod", logs, "");
    config.linux.get_or_insert_default().resources = Some(LinuxContainerResources {
        memory_limit_in_bytes: 64 * MIB,
        ..Default::default()
    });
    let sandbox = guest.sandbox_of(config).await?;
    let path = format!("{OWN}/node-agent-{}.slice", sandbox.id);
    ensure!(cgroup(&path, "memory.max")? == (64 * MIB).to_string());
    let mut runtime = guest.cri.runtime.clone();
    let request = UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: sandbox.id.clone(),
        overhead: None,
        resources: Some(LinuxContainerResources {
            memory_limit_in_bytes: 128 * MIB,
            cpu_quota: 50_000,
            cpu_period: 100_000,
            ..Default::default()
        }),
    };
    runtime.update_pod_sandbox_resources(request).await?;
    sh("systemctl daemon-reload")?;
    ensure!(cgroup(&path, "memory.max")? == (128 * MIB).to_string());
    ensure!(cgroup(&path, "cpu.max")? == "50000 100000");
    Ok(())
}
