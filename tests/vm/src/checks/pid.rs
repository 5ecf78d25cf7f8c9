//! Shared PID namespaces: on v2 no process may live beside cgroups.

use anyhow::{Result, ensure};
use proto::cri::{LinuxContainerResources, NamespaceMode};

use crate::guest::{Guest, OWN, cgroup};

pub(super) async fn a_shared_namespace_has_its_holder_in_a_scope(guest: &mut Guest) -> Result<()> {
    let mut config = harness::pod::sandbox_config("pod", "/var/log/pods".as_ref(), "");
    let linux = config.linux.get_or_insert_default();
    let context = linux.security_context.get_or_insert_default();
    context.namespace_options.get_or_insert_default().pid = NamespaceMode::Pod.into();
    let sandbox = guest.sandbox_of(config).await?;
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 64 << 20,
        ..Default::default()
    };
    let mut config = guest.container("main", &["/bin/pause"], resources);
    let linux = config.linux.get_or_insert_default();
    let context = linux.security_context.get_or_insert_default();
    context.namespace_options.get_or_insert_default().pid = NamespaceMode::Pod.into();
    let id = guest.run(&sandbox, &config).await?;
    let pod = format!("{OWN}/node-agent-{}.slice", sandbox.id);
    let holder = format!("{pod}/node-agent-{}.scope", sandbox.id);
    ensure!(cgroup(&holder, "cgroup.procs")?.lines().count() == 1);
    let leaf = format!("{pod}/node-agent-{id}.scope");
    ensure!(cgroup(&leaf, "memory.max")? == (64 << 20).to_string());
    let seen = guest.exec(&id, "ls -d /proc/[0-9]* | wc -l").await?;
    ensure!(seen.trim().parse::<u32>()? >= 3, "{seen}");
    Ok(())
}
