//! Agent or shim are killed while `ctl run` and `ctl stop` are under way, a little later each time;
//! afterwards the container is there and can be run, or it is not there at all.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use harness::node::Node;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const KILLS: u32 = 18;

/// Kills every shim there is now.
fn kill_shims(node: &Node) -> Result<()> {
    for helper in node.agent.helpers()? {
        if helper.name.starts_with("shim:") {
            // One that has ended meanwhile is not missed.
            let _ = kill(Pid::from_raw(helper.pid.cast_signed()), Signal::SIGKILL);
        }
    }
    Ok(())
}

/// Runs `ctl`, and kills the agent, the shims, or both, while it does.
async fn disturbed(node: &mut Node, words: &[&str], after: Duration, number: u32) -> Result<()> {
    let mut child = node
        .ctl()?
        .command(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start ctl")?;
    tokio::time::sleep(after).await;
    let (agent, shim) = [(false, true), (true, false), (true, true)][number as usize % 3];
    if shim {
        kill_shims(node)?;
    }
    if agent {
        node.restart().await?;
    }
    // Most are cut off; none may hang.
    harness::wait::until("ctl ends", || Ok(child.try_wait()?))?;
    Ok(())
}

#[tokio::test]
async fn a_persons_container_is_whole_or_not_there() -> Result<()> {
    let mut node = Node::start().await?;
    let image = node.image.clone();
    let begin = Instant::now();
    let ctl = node.ctl()?;
    ctl.ok(&["run", "-d", "--name", "measured", &image, "/bin/pause"])?;
    let started = begin.elapsed();
    ctl.ok(&["stop", "measured"])?;
    let stopped = begin.elapsed() - started;
    ctl.ok(&["rm", "measured"])?;
    for number in 0..KILLS {
        let said = || format!("kill {number}");
        let name = format!("mine-{number}");
        let run = ["run", "-d", "--name", &name, &image, "/bin/pause"];
        disturbed(&mut node, &run, started / KILLS * number, number).await?;
        let ctl = node.ctl()?;
        let filter = format!("name={name}");
        let listed = ctl.ok(&["ps", "-aq", "--filter", &filter])?;
        if listed.is_empty() {
            ctl.ok(&run).with_context(said)?;
        } else {
            // Started or not, it can be; a run that a kill has cut short may still be ending. What
            // runs is not started again, and may have lost its shim a moment ago.
            harness::wait::until("it starts and works", || {
                let started = ctl.run(&["start", &name])?.code == 0;
                let works = started && ctl.run(&["exec", &name, "true"])?.code == 0;
                Ok(works.then_some(()))
            })
            .with_context(said)?;
        }
        let said_by_it = ctl.ok(&["exec", &name, "echo", "works"]);
        assert_eq!(said_by_it.with_context(said)?, "works");
        let stop = ["stop", &name];
        disturbed(&mut node, &stop, stopped / KILLS * number, number).await?;
        let ctl = node.ctl()?;
        ctl.ok(&["rm", "-f", &name]).with_context(said)?;
        assert_eq!(ctl.ok(&["ps", "-aq"])?, "", "{}", said());
        node.nothing_left().await.with_context(said)?;
    }
    node.finish().await
}
