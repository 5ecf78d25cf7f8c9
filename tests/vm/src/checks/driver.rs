//! Who makes cgroups, and where.

use std::path::Path;

use anyhow::{Result, ensure};
use harness::agent::Options;
use harness::node::Node;
use proto::cri::{CgroupDriver, LinuxContainerResources, NamespaceMode, RuntimeConfigRequest};
use tonic::Code;

use crate::guest::{CGROUPS, Guest, POD, cgroup, sh};

pub(super) async fn is_told_and_refuses_what_is_no_slice(guest: &mut Guest) -> Result<()> {
    let mut runtime = guest.cri.runtime.clone();
    let told = runtime.runtime_config(RuntimeConfigRequest {}).await?;
    let told = told.into_inner().linux.unwrap_or_default();
    ensure!(told.cgroup_driver() == CgroupDriver::Systemd);
    for parent in ["/kubepods/besteffort/pod1", "a.scope", "/x.slice/a-b.slice"] {
        let config = harness::pod::sandbox_config("pod", Path::new("/var/log/pods"), parent);
        let refused = guest.cri.run_sandbox(&config).await.err();
        ensure!(
            refused.map(|status| status.code()) == Some(Code::InvalidArgument),
            "{parent}"
        );
    }
    Ok(())
}

pub(super) async fn a_containers_scope_lies_in_its_pods_slice(guest: &mut Guest) -> Result<()> {
    sh(&format!("systemctl start {POD}"))?;
    let whole = format!("/kubepods.slice/kubepods-besteffort.slice/{POD}");
    for (name, parent) in [("name", POD), ("path", &whole)] {
        let sandbox = guest.sandbox(name, parent).await?;
        let config = guest.container("main", &["/bin/pause"], LinuxContainerResources::default());
        let id = guest.run(&sandbox, &config).await?;
        let processes = cgroup(&format!("{whole}/node-agent-{id}.scope"), "cgroup.procs")?;
        ensure!(processes.lines().count() == 1, "{processes}");
        // A kubelet's slice is a kubelet's.
        guest.cri.stop_sandbox(&sandbox.id).await?;
        guest.cri.remove_sandbox(&sandbox.id).await?;
        ensure!(Path::new(&format!("{CGROUPS}{whole}")).exists());
    }
    let active = sh(&format!("systemctl is-active {POD}"))?;
    ensure!(active.trim() == "active");
    sh(&format!("systemctl stop {POD}"))?;
    Ok(())
}

/// An agent of its own, on v2 with directories.
pub(super) async fn without_systemd_directories_do(_guest: &mut Guest) -> Result<()> {
    let node = Node::start_with(Options::default()).await?;
    let mut config = node.sandbox_config("pod");
    let linux = config.linux.get_or_insert_default();
    let context = linux.security_context.get_or_insert_default();
    let options = context.namespace_options.get_or_insert_default();
    options.pid = NamespaceMode::Pod.into();
    let sandbox = node.sandbox_of(config).await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    let linux = config.linux.get_or_insert_default();
    let context = linux.security_context.get_or_insert_default();
    let options = context.namespace_options.get_or_insert_default();
    options.pid = NamespaceMode::Pod.into();
    linux.resources = Some(LinuxContainerResources {
        memory_limit_in_bytes: 64 << 20,
        cpu_quota: 50_000,
        cpu_period: 100_000,
        unified: [("memory.high".to_owned(), "60000000".to_owned())].into(),
        ..Default::default()
    });
    let id = node.run_of(&sandbox, &config).await?;
    let parent = &node.agent.slot().names().cgroup;
    let path = format!("/{parent}/{}/{id}", sandbox.id);
    let read = |file: &str| cgroup(&path, file);
    ensure!(read("memory.max")? == (64 << 20).to_string());
    ensure!(read("cpu.max")? == "50000 100000");
    ensure!(read("memory.high")?.parse::<u64>()? <= 60_000_000);
    let seen = node.exec(&id, "cat /sys/fs/cgroup/memory.max").await?;
    ensure!(seen.trim() == (64 << 20).to_string(), "{seen}");
    node.finish().await
}
