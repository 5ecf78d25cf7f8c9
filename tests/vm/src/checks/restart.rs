//! The service under running pods.

use anyhow::{Result, ensure};
use proto::cri::{ContainerState, LinuxContainerResources};

use crate::guest::{Guest, OWN, Sandbox, sh};

/// A pod that writes numbered lines.
struct Running {
    sandbox: Sandbox,
    id: String,
    log: std::path::PathBuf,
    pid: String,
}

/// Starts one; its log is in a directory of this name, which nobody else uses.
async fn start(guest: &Guest, name: &str) -> Result<Running> {
    let sandbox = guest.sandbox(name, "").await?;
    let line = "n=0; while :; do echo $n; n=$((n+1)); sleep 0.05; done";
    let resources = LinuxContainerResources::default();
    let config = guest.container("main", &["/bin/sh", "-c", line], resources);
    let id = guest.run(&sandbox, &config).await?;
    let log = guest.log(&sandbox, &config);
    let pid = process(&sandbox, &id)?;
    Ok(Running {
        sandbox,
        id,
        log,
        pid,
    })
}

/// Returns the first process of a container.
fn process(sandbox: &Sandbox, id: &str) -> Result<String> {
    let path = format!(
        "{OWN}/node-agent-{}.slice/node-agent-{id}.scope",
        sandbox.id
    );
    // The tree that is there on either version.
    let tree = crate::guest::cgroup(&path, "cgroup.procs");
    let all = tree.or_else(|_| crate::guest::cgroup(&format!("/systemd{path}"), "cgroup.procs"))?;
    Ok(all.lines().next().unwrap_or_default().to_owned())
}

/// Fails if the container noticed anything, or the node cannot work with it any more.
async fn goes_on(guest: &Guest, running: &Running) -> Result<()> {
    let status = guest.cri.container_status(&running.id).await?;
    ensure!(
        status.state() == ContainerState::ContainerRunning,
        "{status:?}"
    );
    ensure!(process(&running.sandbox, &running.id)? == running.pid);
    let count = || -> Result<usize> { Ok(std::fs::read_to_string(&running.log)?.lines().count()) };
    let before = count()?;
    harness::wait::until("more lines come", || {
        Ok((count()? > before + 3).then_some(()))
    })?;
    ensure!(guest.exec(&running.id, "echo there").await? == "there\n");
    // Another pod can be made as well.
    let other = guest.sandbox("other", "").await?;
    let config = guest.container("main", &["/bin/true"], LinuxContainerResources::default());
    let id = guest.run(&other, &config).await?;
    ensure!(guest.exited(&id).await?.exit_code == 0);
    guest.cri.stop_container(&running.id, 0).await?;
    let status = guest.exited(&running.id).await?;
    ensure!(status.exit_code == 137, "{status:?}");
    let text = std::fs::read_to_string(&running.log)?;
    let numbers = text
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap_or_default());
    let numbers: Vec<usize> = numbers.map(str::parse).collect::<Result<_, _>>()?;
    ensure!(
        numbers == (0..numbers.len()).collect::<Vec<_>>(),
        "a line is lost or doubled"
    );
    Ok(())
}

pub(super) async fn pods_go_on_when_the_service_is_restarted(guest: &mut Guest) -> Result<()> {
    let running = start(guest, "restarted").await?;
    sh("systemctl restart node-agent.service")?;
    guest.reconnect().await?;
    goes_on(guest, &running).await
}

pub(super) async fn pods_go_on_when_the_program_is_replaced(guest: &mut Guest) -> Result<()> {
    let running = start(guest, "replaced").await?;
    // As a package manager does it: other files under the old names.
    sh(
        "cd /usr/bin; for p in node-agent node-agent-shim; do cp $p $p.new; mv $p.new $p; done; \
        systemctl restart node-agent.service",
    )?;
    guest.reconnect().await?;
    goes_on(guest, &running).await
}

pub(super) async fn pods_go_on_when_the_service_is_killed(guest: &mut Guest) -> Result<()> {
    let running = start(guest, "killed").await?;
    let before = sh("systemctl show -p MainPID --value node-agent.service")?;
    sh(&format!("kill -9 {before}"))?;
    harness::wait::until("systemd has started it again", || {
        let state = sh("systemctl show -p MainPID -p ActiveState node-agent.service")?;
        let again = !state.contains(&format!("MainPID={}", before.trim()));
        Ok((again && state.contains("ActiveState=active")).then_some(()))
    })?;
    guest.reconnect().await?;
    goes_on(guest, &running).await
}
