//! `--restart`: who is started again, how often, and what holds.

use anyhow::Result;
use harness::ctl::Ctl;
use harness::node::Node;
use harness::wait;

/// Runs a container with a policy; it writes "run" each time it begins.
fn run(node: &Node, name: &str, policy: &str, then: &str) -> Result<()> {
    let line = format!("echo run; {then}");
    let ctl = node.ctl()?;
    let flags = ["run", "-d", "--name", name, "--restart", policy];
    ctl.ok(&[&flags[..], &[&node.image, "sh", "-c", &line]].concat())?;
    Ok(())
}

/// Returns how often it has begun.
fn runs(ctl: &Ctl, name: &str) -> Result<usize> {
    Ok(ctl.ok(&["logs", name])?.lines().count())
}

fn told(ctl: &Ctl, name: &str) -> Result<String> {
    let state = "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}";
    ctl.ok(&["inspect", "-f", state, name])
}

fn becomes(ctl: &Ctl, name: &str, state: &str) -> Result<()> {
    wait::until(&format!("{name} is {state}"), || {
        let now = told(ctl, name)?;
        anyhow::ensure!(now == state, "{now}");
        Ok(Some(()))
    })
}

#[tokio::test]
async fn who_fails_is_started_again_so_many_times() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    run(&node, "fails", "on-failure:2", "exit 3")?;
    becomes(&ctl, "fails", "exited 3 2")?;
    assert_eq!(runs(&ctl, "fails")?, 3);
    run(
        &node,
        "heals",
        "on-failure",
        "[ -e /kept ] && exit 0; touch /kept; exit 1",
    )?;
    becomes(&ctl, "heals", "exited 0 1")?;
    assert_eq!(runs(&ctl, "heals")?, 2, "its files are kept");
    let shown = "{{json .HostConfig.RestartPolicy}}";
    assert_eq!(
        ctl.ok(&["inspect", "-f", shown, "fails"])?,
        r#"{"Name":"on-failure","MaximumRetryCount":2}"#
    );
    // A start by hand counts from the beginning.
    ctl.ok(&["start", "fails"])?;
    wait::until("three more runs", || {
        Ok((runs(&ctl, "fails")? == 6).then_some(()))
    })?;
    becomes(&ctl, "fails", "exited 3 2")?;
    // Only what is neither running nor about to run is removed without force.
    ctl.ok(&["rm", "fails", "heals"])?;
    node.finish().await
}

#[tokio::test]
async fn who_always_runs_is_shown_so_and_stops_by_hand() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    run(&node, "one", "always", "exit 0")?;
    // Waits double: by now it rests more than it runs.
    wait::until("it was started again and waits", || {
        let line = ctl.ok(&["ps", "--format", "{{.State}} {{.Status}}"])?;
        let often = runs(&ctl, "one")? >= 3;
        Ok((often && line.starts_with("restarting Restarting (0) ")).then_some(()))
    })?;
    let waits = "{{.State.Running}} {{.State.Restarting}}";
    wait::until("a wait", || {
        Ok((ctl.ok(&["inspect", "-f", waits, "one"])? == "true true").then_some(()))
    })?;
    wait::until("it is listed by its state", || {
        let named = ctl.ok(&["ps", "-q", "--filter", "status=restarting"])?;
        Ok((!named.is_empty()).then_some(()))
    })?;
    wait::until("it is refused to be removed while it waits", || {
        let refused = ctl.run(&["rm", "one"])?;
        assert_eq!(refused.code, 1, "{refused:?}");
        let said = refused.stderr.contains("is about to be started again");
        Ok(said.then_some(()))
    })?;
    ctl.ok(&["stop", "one"])?;
    let stopped = told(&ctl, "one")?;
    assert!(stopped.starts_with("exited 0 "), "{stopped}");
    // A kill holds too, and another signal does not.
    run(
        &node,
        "two",
        "unless-stopped",
        "trap 'exit 9' USR1; while :; do sleep 0.02; done",
    )?;
    ctl.ok(&["exec", "two", "true"])?;
    wait::until("it listens", || Ok((runs(&ctl, "two")? == 1).then_some(())))?;
    ctl.ok(&["kill", "-s", "USR1", "two"])?;
    wait::until("it begins again", || {
        Ok((runs(&ctl, "two")? == 2).then_some(()))
    })?;
    becomes(&ctl, "two", "running 0 1")?;
    ctl.ok(&["kill", "two"])?;
    assert_eq!(ctl.ok(&["wait", "two"])?, "137");
    assert_eq!(told(&ctl, "two")?, "exited 137 1");
    ctl.ok(&["rm", "one", "two"])?;
    node.finish().await
}

#[tokio::test]
async fn a_restart_of_the_agent_brings_back_who_is_to_run() -> Result<()> {
    let mut node = Node::start().await?;
    let ctl = node.ctl()?;
    run(&node, "runs", "always", "exec pause")?;
    for (name, policy) in [
        ("always", "always"),
        ("unless", "unless-stopped"),
        ("fails", "on-failure"),
    ] {
        run(&node, name, policy, "exec pause")?;
        ctl.ok(&["stop", "-t", "0", name])?;
    }
    let pid = || ctl.ok(&["inspect", "-f", "{{.State.Pid}}", "runs"]);
    let before = pid()?;
    node.agent.kill9()?;
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    // As docker has it: a stop by hand holds until the daemon starts again, or longer if asked for.
    wait::until("the stopped one is back", || {
        Ok(told(&ctl, "always")?.starts_with("running ").then_some(()))
    })?;
    assert_eq!(runs(&ctl, "always")?, 2);
    assert_eq!(pid()?, before, "who runs does not notice");
    for name in ["unless", "fails"] {
        assert_eq!(told(&ctl, name)?, "exited 137 0", "{name}");
    }
    ctl.ok(&["rm", "-f", "runs", "always", "unless", "fails"])?;
    node.finish().await
}

#[tokio::test]
async fn who_ends_without_an_agent_is_started_by_the_next() -> Result<()> {
    let mut node = Node::start().await?;
    let ctl = node.ctl()?;
    let go = node.agent.directory().join("go");
    std::fs::create_dir(&go)?;
    let volume = format!("{}:/go", go.display());
    let line = "echo run; until [ -e /go/now ]; do sleep 0.01; done; rm /go/now";
    let flags = [
        "run",
        "-d",
        "--name",
        "one",
        "--restart=always",
        "-v",
        &volume,
    ];
    ctl.ok(&[&flags[..], &[&node.image, "sh", "-c", line]].concat())?;
    node.agent.kill9()?;
    std::fs::write(go.join("now"), "")?;
    wait::until("it is about to end", || {
        Ok((!go.join("now").exists()).then_some(()))
    })?;
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    wait::until("it begins again", || {
        Ok((runs(&ctl, "one")? == 2).then_some(()))
    })?;
    becomes(&ctl, "one", "running 0 1")?;
    ctl.ok(&["rm", "-f", "one"])?;
    node.finish().await
}

#[tokio::test]
async fn what_fails_to_start_by_hand_is_told_and_left() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let image = node.image.as_str();
    let flags = ["run", "-d", "--name", "one", "--restart", "always"];
    let failed = ctl.run(&[&flags[..], &[image, "/no/such/program"]].concat())?;
    assert_eq!(failed.code, 127, "{failed:?}");
    assert_eq!(told(&ctl, "one")?, "exited 127 0");
    ctl.ok(&["rm", "one"])?;
    let refused = ctl.run(&["run", "--rm", "--restart", "always", image, "true"])?;
    assert!(
        refused.code == 125 && refused.stderr.contains("either --rm or --restart"),
        "{refused:?}"
    );
    ctl.ok(&["run", "--rm", "--restart", "no", image, "true"])?;
    let wrong = ctl.run(&["run", "--restart", "sometimes", image, "true"])?;
    assert!(
        wrong.code == 125 && wrong.stderr.contains("unless-stopped"),
        "{wrong:?}"
    );
    node.finish().await
}
