//! The systemd driver where every controller has a tree of its own.

use anyhow::{Context as _, Result, ensure};
use proto::cri::{LinuxContainerResources, NamespaceMode, UpdateContainerResourcesRequest};

use crate::guest::{CGROUPS, Guest, OWN, sh};

const MIB: i64 = 1 << 20;

fn read(controller: &str, path: &str, file: &str) -> Result<String> {
    let file = format!("{CGROUPS}/{controller}{path}/{file}");
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    Ok(text.trim().to_owned())
}

pub(super) async fn a_scope_is_limited_in_every_tree(guest: &mut Guest) -> Result<()> {
    let mut config = harness::pod::sandbox_config("pod", "/var/log/pods".as_ref(), "");
    let linux = config.linux.get_or_insert_default();
    let context = linux.security_context.get_or_insert_default();
    context.namespace_options.get_or_insert_default().pid = NamespaceMode::Pod.into();
    let sandbox = guest.sandbox_of(config).await?;
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 64 * MIB,
        cpu_shares: 512,
        cpu_quota: 12_300,
        cpu_period: 50_000,
        cpuset_cpus: "0".to_owned(),
        ..Default::default()
    };
    let config = guest.container("main", &["/bin/pause"], resources);
    let id = guest.run(&sandbox, &config).await?;
    let path = format!(
        "{OWN}/node-agent-{}.slice/node-agent-{id}.scope",
        sandbox.id
    );
    let holds = |memory: i64| -> Result<()> {
        for (controller, file, value) in [
            ("memory", "memory.limit_in_bytes", memory.to_string()),
            ("cpu", "cpu.shares", "512".to_owned()),
            ("cpu", "cpu.cfs_period_us", "50000".to_owned()),
            ("cpuset", "cpuset.cpus", "0".to_owned()),
        ] {
            let is = read(controller, &path, file)?;
            ensure!(is == value, "{file} is {is}, not {value}");
        }
        for controller in ["memory", "cpu", "devices", "freezer", "pids", "systemd"] {
            let processes = read(controller, &path, "cgroup.procs")?;
            ensure!(processes.lines().count() == 1, "{controller}: {processes}");
        }
        Ok(())
    };
    holds(64 * MIB)?;
    sh("systemctl daemon-reload")?;
    holds(64 * MIB)?;
    let request = UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(LinuxContainerResources {
            memory_limit_in_bytes: 128 * MIB,
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut runtime = guest.cri.runtime.clone();
    runtime.update_container_resources(request).await?;
    sh("systemctl daemon-reload")?;
    holds(128 * MIB)
}
