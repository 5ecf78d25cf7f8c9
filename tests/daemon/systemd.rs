//! The daemon under systemd: what it tells it, and what its unit says.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::agent::{Agent, Options, beside_us};
use harness::command;

const UNIT: &str = include_str!("../../deploy/node-agent.service");

/// Waits for a message that holds this line.
fn told(socket: &UnixDatagram, line: &str) -> Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).context(line.to_owned())?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.lines().any(|one| one == line) {
            return Ok(());
        }
    }
}

#[tokio::test]
async fn systemd_is_told_when_the_agent_serves_and_when_it_stops() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let options = Options::default().with_variable("NOTIFY_SOCKET", &path.display().to_string());
    let mut agent = Agent::spawn(options)?;
    told(&socket, "READY=1")?;
    // Not asked until it says so: from now on every call is answered.
    assert_eq!(
        agent.cri().await?.version().await?.runtime_name,
        "node-agent"
    );
    agent.terminate()?;
    told(&socket, "STOPPING=1")?;
    agent.finish()
}

#[test]
fn the_unit_is_one_that_systemd_takes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let unit = directory.path().join("node-agent.service");
    let program = beside_us("node-agent")?.display().to_string();
    ensure!(
        UNIT.contains("/usr/bin/node-agent"),
        "the unit starts another program"
    );
    std::fs::write(&unit, UNIT.replace("/usr/bin/node-agent", &program))?;
    let verified = command::output(Command::new("systemd-analyze").arg("verify").arg(&unit))?;
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && said.is_empty(), "{said}");
    Ok(())
}

#[test]
fn the_unit_leaves_containers_alone() {
    let lines: Vec<_> = UNIT.lines().collect();
    for line in [
        "Type=notify",
        "KillMode=process",
        "Delegate=yes",
        "OOMPolicy=continue",
        "OOMScoreAdjust=-999",
        "TasksMax=infinity",
        "Restart=always",
    ] {
        assert!(lines.contains(&line), "no {line}");
    }
    // Each of these would give the agent a mount namespace of its own.
    for key in [
        "PrivateTmp",
        "PrivateMounts",
        "PrivateDevices",
        "ProtectSystem",
        "ProtectHome",
        "ProtectKernel",
        "ProtectControlGroups",
        "ReadOnlyPaths",
        "InaccessiblePaths",
        "BindPaths",
        "TemporaryFileSystem",
        "RootDirectory",
        "MountFlags",
        "DynamicUser",
        "RuntimeDirectory",
        "StateDirectory",
    ] {
        assert!(
            !lines.iter().any(|line| line.starts_with(key)),
            "{key} is set"
        );
    }
}
