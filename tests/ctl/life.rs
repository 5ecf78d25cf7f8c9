//! A container's life by hand.

use anyhow::Result;
use harness::node::Node;
use proto::cri::ListContainersRequest;

#[tokio::test]
async fn create_start_stop_start_kill_and_rm() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let state = || {
        ctl.ok(&[
            "inspect",
            "--format",
            "{{.State.Status}} {{.State.ExitCode}}",
            "one",
        ])
    };
    ctl.ok(&[
        "create",
        "--name",
        "one",
        &node.image,
        "sh",
        "-c",
        "echo run; touch /kept; exec pause",
    ])?;
    assert_eq!(state()?, "created 0");
    assert_eq!(ctl.ok(&["start", "one"])?, "one");
    assert_eq!(state()?, "running 0");
    assert_eq!(ctl.ok(&["stop", "one"])?, "one");
    assert_eq!(state()?, "exited 0");
    assert_eq!(ctl.ok(&["start", "one"])?, "one");
    assert_eq!(
        ctl.ok(&["exec", "one", "ls", "/kept"])?,
        "/kept",
        "a person's container keeps its files"
    );
    let refused = ctl.run(&["rm", "one"])?;
    assert!(
        refused.code == 1 && refused.stderr.contains("hint:"),
        "{refused:?}"
    );
    assert_eq!(ctl.ok(&["kill", "one"])?, "one");
    assert_eq!(ctl.ok(&["wait", "one"])?, "137");
    assert_eq!(ctl.ok(&["logs", "one"])?, "run\nrun");
    assert_eq!(ctl.ok(&["rm", "one"])?, "one");
    assert_eq!(ctl.run(&["rm", "one"])?.code, 1);
    node.finish().await
}

#[tokio::test]
async fn a_container_starts_again_at_once() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let line = "echo page >/index.html; exec httpd -f -p 80 -h /";
    let port = harness::registry::free_address()?.port();
    let published = format!("{port}:80");
    ctl.ok(&[
        "run",
        "-d",
        "--name",
        "one",
        "-p",
        &published,
        &node.image,
        "sh",
        "-c",
        line,
    ])?;
    for round in 0..10 {
        if round % 2 == 0 {
            ctl.ok(&["restart", "-t", "0", "one"])?;
        } else {
            ctl.ok(&["kill", "one"])?;
            ctl.ok(&["wait", "one"])?;
            ctl.ok(&["start", "one"])?;
        }
        harness::wait::until("the page", || {
            let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
            let answer = harness::http::request(address, "GET", "/index.html", &[], &[])?;
            Ok((answer.body == b"page\n").then_some(()))
        })?;
    }
    // Who comes to it by a name that is going has it removed, and not started.
    ctl.ok(&["rm", "-f", "one"])?;
    assert_eq!(ctl.run(&["start", "one"])?.code, 1);
    node.finish().await
}

#[tokio::test]
async fn ps_lists_what_runs_or_everything() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    ctl.ok(&[
        "run",
        "-d",
        "--name",
        "runs",
        "--label",
        "tier=back",
        &node.image,
        "/bin/pause",
    ])?;
    ctl.ok(&["run", "--name", "ended", &node.image, "true"])?;
    let table = ctl.ok(&["ps"])?;
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    for column in [
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "CREATED",
        "STATUS",
        "PORTS",
        "NAMES",
    ] {
        assert!(head.contains(column), "{head}");
    }
    assert!(
        lines
            .next()
            .is_some_and(|line| line.contains("runs") && line.contains("Up "))
            && lines.next().is_none()
    );
    let names = |words: &[&str]| ctl.ok(&[words, &["--format", "{{.Names}}"]].concat());
    assert_eq!(names(&["ps", "-a"])?, "ended\nruns");
    assert_eq!(names(&["ps", "-a", "--filter", "status=exited"])?, "ended");
    assert_eq!(names(&["ps", "--filter", "label=tier=back"])?, "runs");
    let rows = ctl.ok(&["ps", "-a", "--format", "json"])?;
    let rows: Vec<serde_json::Value> = rows
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert_eq!(
        rows.iter()
            .map(|row| row["Names"].as_str())
            .collect::<Vec<_>>(),
        [Some("ended"), Some("runs")]
    );
    ctl.ok(&["rm", "-f", "runs", "ended"])?;
    assert_eq!(ctl.ok(&["ps", "-aq"])?, "");
    node.finish().await
}

#[tokio::test]
async fn a_kubelet_never_sees_what_people_run() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let id = ctl.ok(&["run", "-d", "--name", "mine", &node.image, "/bin/pause"])?;
    let list = node
        .cri
        .runtime
        .clone()
        .list_containers(ListContainersRequest { filter: None })
        .await?
        .into_inner();
    assert_eq!(list.containers, []);
    assert!(node.cri.container_status(&id).await.is_err());
    assert!(node.cri.exec(&id, &["/bin/true"], 5).await.is_err());
    node.cri.stop_container(&id, 0).await?;
    assert_eq!(
        ctl.ok(&["inspect", "--format", "{{.State.Status}}", "mine"])?,
        "running"
    );
    // An image that a person uses is not a kubelet's to collect.
    let images = node
        .cri
        .image
        .clone()
        .list_images(proto::cri::ListImagesRequest { filter: None })
        .await?
        .into_inner();
    assert!(images.images.iter().all(|image| image.pinned), "{images:?}");
    ctl.ok(&["rm", "-f", "mine"])?;
    node.finish().await
}

#[tokio::test]
async fn an_agent_that_does_not_run_is_told() -> Result<()> {
    let mut node = Node::start().await?;
    let ctl = node.ctl()?;
    node.agent.kill9()?;
    let ended = ctl.run(&["ps"])?;
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(
        ended.stderr.starts_with("error: ") && ended.stderr.contains("hint: "),
        "{}",
        ended.stderr
    );
    let run = ctl.run(&["run", "--rm", &node.image, "true"])?;
    assert_eq!(run.code, 125);
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    node.finish().await
}

#[tokio::test]
async fn version_and_info_tell_of_both_sides() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let version = ctl.ok(&["version"])?;
    assert!(
        version.contains("Client") && version.contains("Server"),
        "{version}"
    );
    let info = ctl.ok(&["info", "--format", "json"])?;
    let info: serde_json::Value = serde_json::from_str(&info)?;
    assert!(
        info.to_string()
            .contains(&node.agent.root().display().to_string()),
        "{info:#}"
    );
    node.finish().await
}
