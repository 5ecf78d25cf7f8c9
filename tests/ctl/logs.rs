//! `ctl logs`.

use anyhow::Result;
use harness::agent::Options;
use harness::node::Node;

#[tokio::test]
async fn tails_times_and_streams() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let line = "for i in 1 2 3 4 5; do echo line $i; done; echo err >&2; printf end";
    ctl.ok(&["run", "--name", "one", &node.image, "sh", "-c", line])?;
    let all = ctl.run(&["logs", "one"])?;
    assert_eq!(
        (all.stdout.as_str(), all.stderr.as_str()),
        ("line 1\nline 2\nline 3\nline 4\nline 5\nend", "err\n")
    );
    let tail = ctl.run(&["logs", "--tail", "2", "one"])?;
    assert_eq!(
        tail.stdout.lines().count() + tail.stderr.lines().count(),
        2,
        "{tail:?}"
    );
    let timed = ctl.ok(&["logs", "-t", "--tail", "7", "one"])?;
    let first = timed.lines().next().unwrap_or_default();
    let (time, rest) = first.split_once(' ').unwrap_or_default();
    assert!(
        time.ends_with('Z') && time.contains('T') && rest == "line 1",
        "{first}"
    );
    assert_eq!(
        ctl.ok(&["logs", "--since", time, "one"])?.lines().count(),
        6
    );
    assert_eq!(
        ctl.ok(&["logs", "--since", "2100-01-01T00:00:00Z", "one"])?,
        ""
    );
    ctl.ok(&["rm", "one"])?;
    assert_eq!(ctl.run(&["logs", "one"])?.code, 1);
    node.finish().await
}

#[tokio::test]
async fn following_ends_with_the_container_and_misses_nothing() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    ctl.ok(&[
        "run",
        "-d",
        "--name",
        "one",
        &node.image,
        "sh",
        "-c",
        "for i in $(seq 1 300); do echo $i; sleep 0.005; done",
    ])?;
    let text = ctl.ok(&["logs", "-f", "one"])?;
    let wanted: Vec<String> = (1..=300).map(|number: u32| number.to_string()).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), wanted);
    ctl.ok(&["rm", "one"])?;
    node.finish().await
}

#[tokio::test]
async fn a_window_of_time_and_its_tail_are_shown() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let line = "for i in 1 2 3; do echo $i; sleep 0.3; done; exec pause";
    ctl.ok(&["run", "-d", "--name", "one", &node.image, "sh", "-c", line])?;
    let timed = harness::wait::until("three lines", || {
        let timed = ctl.ok(&["logs", "-t", "one"])?;
        Ok((timed.lines().count() == 3).then_some(timed))
    })?;
    let times: Vec<_> = timed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let shown = |flags: &[&str]| ctl.ok(&[&["logs"], flags, &["one"]].concat());
    assert_eq!(shown(&["--since", times[1]])?, "2\n3");
    assert_eq!(shown(&["--until", times[1]])?, "1\n2");
    assert_eq!(shown(&["--since", times[1], "--until", times[1]])?, "2");
    assert_eq!(shown(&["--until", times[1], "-n", "1"])?, "2");
    assert_eq!(shown(&["--since", "1h", "--tail", "all"])?, "1\n2\n3");
    assert_eq!(shown(&["--since", "0s"])?, "");
    assert_eq!(shown(&["--tail", "0"])?, "");
    // What is past need not be waited for.
    assert_eq!(shown(&["-f", "--until", times[1]])?, "1\n2");
    ctl.ok(&["rm", "-f", "one"])?;
    node.finish().await
}

#[tokio::test]
async fn rotated_files_are_read_as_one_also_when_written_without_an_agent() -> Result<()> {
    let options = Options::default()
        .with("containers", "log_max_bytes = 40000")
        .with("containers", "log_max_files = 50");
    let mut node = Node::start_with(options).await?;
    let ctl = node.ctl()?;
    let line = "for i in $(seq 1 6000); do echo $i; [ $i = 3000 ] && until [ -e /go ]; do sleep 0.01; done; done; exec pause";
    ctl.ok(&["run", "-d", "--name", "one", &node.image, "sh", "-c", line])?;
    let wanted = |last: u32| {
        (1..=last)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
    };
    harness::wait::until("the first half", || {
        Ok((ctl.ok(&["logs", "one"])?.lines().count() == 3000).then_some(()))
    })?;
    ctl.ok(&["exec", "one", "touch", "/go"])?;
    node.agent.kill9()?;
    let logs = node.agent.root().join("logs");
    let files = || -> Result<usize> {
        let sandbox = std::fs::read_dir(&logs)?.next();
        let sandbox = sandbox.ok_or_else(|| anyhow::anyhow!("no log"))??;
        Ok(std::fs::read_dir(sandbox.path())?.count())
    };
    harness::wait::until("the shim rotates by itself", || {
        Ok((files()? >= 6).then_some(()))
    })?;
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    let ctl = node.ctl()?;
    harness::wait::until("all lines", || {
        let text = ctl.ok(&["logs", "one"])?;
        Ok((text.lines().collect::<Vec<_>>() == wanted(6000)).then_some(()))
    })?;
    assert_eq!(ctl.ok(&["logs", "--tail", "2", "one"])?, "5999\n6000");
    ctl.ok(&["rm", "-f", "one"])?;
    node.finish().await
}

#[tokio::test]
async fn following_goes_on_across_rotations() -> Result<()> {
    let options = Options::default()
        .with("containers", "log_max_bytes = 2000")
        .with("containers", "log_max_files = 100");
    let node = Node::start_with(options).await?;
    let ctl = node.ctl()?;
    let line = "for i in $(seq 1 1500); do echo $i; [ $((i % 100)) = 0 ] && sleep 0.01; done";
    ctl.ok(&["run", "-d", "--name", "one", &node.image, "sh", "-c", line])?;
    let text = ctl.ok(&["logs", "-f", "one"])?;
    let wanted: Vec<String> = (1..=1500).map(|number: u32| number.to_string()).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), wanted);
    ctl.ok(&["rm", "one"])?;
    node.finish().await
}
