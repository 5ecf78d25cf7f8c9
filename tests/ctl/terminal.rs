//! Real terminals.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use harness::node::Node;

use crate::session::Session;

#[tokio::test]
async fn run_gives_a_terminal() -> Result<()> {
    let node = Node::start().await?;
    let mut session = Session::start(&node, &["run", "--rm", "-it", &node.image, "sh"])?;
    session.send(b"test -t 0 && test -t 1 && echo yes-$((1+1))\n")?;
    session.shows("yes-2")?;
    session.send(b"stty size | tr ' ' x; echo asleep-$((4+5)); sleep 1000\n")?;
    session.shows("asleep-9")?;
    // An interrupt goes to the program, not to ctl.
    session.send(b"\x03")?;
    session.send(b"echo back-$((1+2)); exit 4\n")?;
    session.shows("back-3")?;
    session.ends_with(4)?;
    node.finish().await
}

#[tokio::test]
async fn exec_gives_a_terminal() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    ctl.ok(&["run", "-d", "--name", "one", &node.image, "/bin/pause"])?;
    let mut session = Session::start(&node, &["exec", "-it", "one", "sh"])?;
    session.send(b"tty; echo done-$((2+2)); exit 5\n")?;
    session.shows("/dev/pts/")?;
    session.shows("done-4")?;
    session.ends_with(5)?;
    ctl.ok(&["rm", "-f", "one"])?;
    node.finish().await
}

#[tokio::test]
async fn ctrl_p_ctrl_q_leaves_it_running_and_attach_comes_back() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let mut session = Session::start(&node, &["run", "-it", "--name", "one", &node.image, "sh"])?;
    session.send(b"echo first-$((3+3))\n")?;
    session.shows("first-6")?;
    session.send(b"\x10\x11")?;
    session.ends_with(0)?;
    assert_eq!(
        ctl.ok(&["inspect", "--format", "{{.State.Status}}", "one"])?,
        "running"
    );
    let mut session = Session::start(&node, &["attach", "one"])?;
    session.send(b"echo again-$((4+4)); exit 6\n")?;
    session.shows("again-8")?;
    session.ends_with(6)?;
    ctl.ok(&["rm", "one"])?;
    node.finish().await
}

#[tokio::test]
async fn the_terminals_size_follows() -> Result<()> {
    let node = Node::start().await?;
    let line = format!(
        "stty rows 41 cols 97; {} run --rm -it {} stty size",
        harness::agent::beside_us("ctl")?.display(),
        node.image
    );
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env(
            "NODE_AGENT_HOST",
            format!("unix://{}", node.agent.socket().display()),
        )
        .stdin(Stdio::null())
        .output()
        .context("start script (package bsdutils)")?;
    let screen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(screen.contains("41 97"), "{screen:?}");
    node.finish().await
}

#[tokio::test]
async fn a_terminal_that_changes_its_size_tells_the_program() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let line = "trap 'echo size-$(stty size | tr \" \" x)' WINCH; echo ready-$((1+1)); while :; do sleep 0.05; done";
    let mut session = Session::start(
        &node,
        &["run", "-it", "--name", "one", &node.image, "sh", "-c", line],
    )?;
    session.shows("ready-2")?;
    session.resize(33, 77)?;
    session.shows("size-33x77")?;
    session.resize(44, 88)?;
    session.shows("size-44x88")?;
    session.send(b"\x10\x11")?;
    session.ends_with(0)?;
    let mut session = Session::start(&node, &["exec", "-it", "one", "sh", "-c", line])?;
    session.shows("ready-2")?;
    session.resize(35, 79)?;
    session.shows("size-35x79")?;
    session.send(b"\x10\x11")?;
    session.ends_with(0)?;
    ctl.ok(&["rm", "-f", "one"])?;
    node.finish().await
}

#[tokio::test]
async fn ctrl_p_ctrl_q_leaves_an_exec_running() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    ctl.ok(&["run", "-d", "--name", "one", &node.image, "/bin/pause"])?;
    let mut session = Session::start(&node, &["exec", "-it", "one", "sh"])?;
    session.send(b"echo here-$((3+3)); sleep 1; echo later >/tmp/later; sleep 1000\n")?;
    session.shows("here-6")?;
    session.send(b"\x10\x11")?;
    session.ends_with(0)?;
    harness::wait::until("the process goes on", || {
        Ok((ctl.ok(&["exec", "one", "cat", "/tmp/later"])? == "later").then_some(()))
    })?;
    // Other keys may be chosen, and these then go to the program.
    let mut session = Session::start(
        &node,
        &["exec", "-it", "--detach-keys", "ctrl-a,d", "one", "sh"],
    )?;
    session.send(b"\x10\x11echo still-$((3+4))\n")?;
    session.shows("still-7")?;
    session.send(b"\x01d")?;
    session.ends_with(0)?;
    ctl.ok(&["rm", "-f", "one"])?;
    node.finish().await
}
