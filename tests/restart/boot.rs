//! A reboot: another boot id, no processes, no namespaces, no links, perhaps no state directory.

use anyhow::Result;
use harness::agent::Options;
use harness::node::Node;
use harness::wait;
use proto::cri::{ContainerState, PodSandboxState};

/// Starts a node whose boot id is the content of a file of the test's.
async fn node(id: &std::path::Path) -> Result<Node> {
    std::fs::write(id, "6f0a5a7c-0000-4000-8000-000000000001\n")?;
    Node::start_with(Options::default().with("", format!("boot_id_file = \"{}\"", id.display())))
        .await
}

/// Takes away what a reboot takes away, and gives another boot id.
fn reboot(node: &mut Node, id: &std::path::Path, state_too: bool) -> Result<()> {
    node.agent.kill9()?;
    node.agent.scope().clear()?;
    if state_too {
        std::fs::remove_dir_all(node.agent.state())?;
    }
    std::fs::write(id, "6f0a5a7c-0000-4000-8000-000000000002\n")?;
    Ok(())
}

async fn after_a_reboot(state_too: bool) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let id = directory.path().join("boot_id");
    let mut node = node(&id).await?;
    let (one, two) = (node.sandbox("one").await?, node.sandbox("two").await?);
    let ran = node.run(&one, "main", &["/bin/pause"]).await?;
    let ended = node
        .run(&one, "ended", &["/bin/sh", "-c", "exit 5"])
        .await?;
    node.exited(&ended).await?;
    node.ctl()?.ok(&[
        "run",
        "-d",
        "--name",
        "mine",
        &node.image,
        "sh",
        "-c",
        "test -e /kept || touch /kept; exec pause",
    ])?;
    for (name, policy) in [("always", "always"), ("fails", "on-failure:9")] {
        let run = ["run", "-d", "--name", name, "--restart", policy];
        node.ctl()?
            .ok(&[&run[..], &[&node.image, "/bin/pause"]].concat())?;
    }
    // The last of all: when it is recorded, so is that the others run.
    let config = node.container_config("created", &["/bin/pause"]);
    let created = node
        .cri
        .create_container(&two.id, &config, &two.config)
        .await?;
    reboot(&mut node, &id, state_too)?;
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    for sandbox in [&one, &two] {
        assert_eq!(
            node.cri.sandbox_status(&sandbox.id).await?.state(),
            PodSandboxState::SandboxNotready
        );
    }
    for (container, code, reason) in [
        (&ran, 255, "Unknown"),
        (&ended, 5, "Error"),
        (&created, 255, "Unknown"),
    ] {
        let status = node.cri.container_status(container).await?;
        let seen = (status.state(), status.exit_code, status.reason.as_str());
        assert_eq!(seen, (ContainerState::ContainerExited, code, reason));
    }
    // A person's container is started again, with its files.
    let ctl = node.ctl()?;
    assert_eq!(
        ctl.ok(&["inspect", "--format", "{{.State.Status}}", "mine"])?,
        "exited"
    );
    ctl.ok(&["start", "mine"])?;
    assert_eq!(ctl.ok(&["exec", "mine", "ls", "/kept"])?, "/kept");
    // Who was to run does again.
    for name in ["always", "fails"] {
        wait::until("it is started by itself", || {
            Ok((ctl.run(&["exec", name, "true"])?.code == 0).then_some(()))
        })?;
    }
    ctl.ok(&["rm", "-f", "mine", "always", "fails"])?;
    // The image is whole, and names are free for the next attempt.
    let mut again = one.config.clone();
    if let Some(metadata) = again.metadata.as_mut() {
        metadata.attempt = 1;
    }
    let sandbox = node.sandbox_of(again).await?;
    node.run(&sandbox, "main", &["/bin/pause"]).await?;
    node.finish().await
}

#[tokio::test]
async fn a_power_cut_leaves_what_is_a_persons() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let id = directory.path().join("boot_id");
    let mut node = node(&id).await?;
    let line = "test -e /kept || touch /kept; exec pause";
    let image = node.image.clone();
    let ctl = node.ctl()?;
    ctl.ok(&["run", "-d", "--name", "mine", &image, "sh", "-c", line])?;
    ctl.ok(&["create", "--name", "made", &image, "sh", "-c", line])?;
    let again = ["--restart", "unless-stopped"];
    for name in ["again", "stopped"] {
        let run = ["run", "-d", "--name", name];
        ctl.ok(&[&run[..], &again, &[&image, "sh", "-c", line]].concat())?;
    }
    ctl.ok(&["stop", "-t", "0", "stopped"])?;
    let sandbox = node.sandbox("one").await?;
    node.run(&sandbox, "main", &["/bin/pause"]).await?;
    reboot(&mut node, &id, true)?;
    // What is never synced is torn.
    std::fs::write(node.agent.root().join("records.redb"), "torn")?;
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    let ctl = node.ctl()?;
    ctl.ok(&["start", "mine", "made"])?;
    for name in ["mine", "made"] {
        assert_eq!(ctl.ok(&["exec", name, "ls", "/kept"])?, "/kept");
    }
    // Who was to run does, though nobody knows any more that it had run.
    wait::until("it is started by itself", || {
        Ok((ctl.run(&["exec", "again", "ls", "/kept"])?.code == 0).then_some(()))
    })?;
    let state = ["inspect", "-f", "{{.State.Status}}", "stopped"];
    assert_ne!(ctl.ok(&state)?, "running", "a stop by hand was synced");
    ctl.ok(&["rm", "-f", "mine", "made", "again", "stopped"])?;
    // A kubelet's sandbox is gone with its record, and its name is free.
    node.sandbox("one").await?;
    node.finish().await
}

#[tokio::test]
async fn after_a_reboot_sandboxes_are_not_ready_and_can_be_removed() -> Result<()> {
    Box::pin(after_a_reboot(false)).await
}

#[tokio::test]
async fn a_reboot_may_take_the_state_directory_along() -> Result<()> {
    Box::pin(after_a_reboot(true)).await
}
