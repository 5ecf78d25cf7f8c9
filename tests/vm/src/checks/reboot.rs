//! A reboot under running pods.

use anyhow::{Context as _, Result, ensure};
use proto::cri::{
    ContainerState, LinuxContainerResources, ListContainersRequest, ListPodSandboxRequest,
    PodSandboxState,
};

use crate::guest::{Guest, sh};

/// Leaves a kubelet's pod and a person's container running.
pub(crate) async fn prepare(guest: &Guest) -> Result<()> {
    let sandbox = guest.sandbox("pod", "").await?;
    let config = guest.container("main", &["/bin/pause"], LinuxContainerResources::default());
    guest.run(&sandbox, &config).await?;
    let line = "echo once >>/kept; cat /kept; exec pause";
    sh(&format!(
        "ctl run -d --name kept {} /bin/sh -c '{line}'",
        guest.image
    ))?;
    Ok(())
}

pub(super) async fn pods_have_ended_and_can_be_removed(guest: &mut Guest) -> Result<()> {
    let mut runtime = guest.cri.runtime.clone();
    let request = ListPodSandboxRequest { filter: None };
    let sandboxes = runtime.list_pod_sandbox(request).await?.into_inner().items;
    ensure!(sandboxes.len() == 1, "{sandboxes:?}");
    ensure!(sandboxes[0].state() == PodSandboxState::SandboxNotready);
    let request = ListContainersRequest { filter: None };
    let listed = runtime.list_containers(request).await?.into_inner();
    let container = listed.containers.first().context("the container is gone")?;
    let status = guest.cri.container_status(&container.id).await?;
    ensure!(status.state() == ContainerState::ContainerExited);
    // A shutdown asks every scope to end, and whoever hears it has an end to be told of. Nobody
    // hears of one that comes after the shims'.
    let end = (status.exit_code, status.reason.as_str());
    ensure!(
        [
            (0, "Completed"),
            (137, "Error"),
            (143, "Error"),
            (255, "Unknown")
        ]
        .contains(&end),
        "{status:?}"
    );
    ensure!(status.finished_at >= status.started_at, "{status:?}");
    guest.cri.stop_sandbox(&sandboxes[0].id).await?;
    guest.cri.remove_sandbox(&sandboxes[0].id).await?;
    Ok(())
}

/// What a person's container wrote is there, and it can be started again.
pub(super) async fn the_node_works(guest: &mut Guest) -> Result<()> {
    sh("ctl start kept")?;
    harness::wait::until("it has run twice", || {
        Ok(sh("ctl logs kept")?.contains("once\nonce\n").then_some(()))
    })?;
    sh("ctl rm -f kept")?;
    let sandbox = guest.sandbox("pod", "").await?;
    let config = guest.container("main", &["/bin/true"], LinuxContainerResources::default());
    let id = guest.run(&sandbox, &config).await?;
    ensure!(guest.exited(&id).await?.exit_code == 0);
    Ok(())
}
