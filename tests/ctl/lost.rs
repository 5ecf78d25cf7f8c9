//! What is seen of an agent that dies under a client.

use std::process::{Child, Stdio};

use anyhow::{Context as _, Result};
use harness::ctl::Ended;
use harness::node::Node;
use harness::wait;

use crate::session::Session;

/// Starts `ctl` and returns once it has printed its first line to the file, where it prints one.
fn attached(node: &Node, words: &[&str], prints: bool) -> Result<Child> {
    let screen = node.agent.directory().join("attached");
    let child = node
        .ctl()?
        .command(words)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&screen)?)
        .stderr(Stdio::piped())
        .spawn()?;
    if prints {
        wait::until("its first line", || {
            Ok(std::fs::read(&screen)?.contains(&b'\n').then_some(()))
        })?;
    }
    Ok(child)
}

#[tokio::test]
async fn every_client_says_so_and_fails() -> Result<()> {
    let mut node = Node::start().await?;
    let ctl = node.ctl()?;
    let tick = "while :; do echo tick; sleep 0.05; done";
    ctl.ok(&["run", "-d", "--name", "one", &node.image, "sh", "-c", tick])?;
    let image = node.image.clone();
    let clients: [(&[&str], bool, i32); 6] = [
        (&["logs", "-f", "one"], true, 1),
        (
            &["run", "--name", "two", &image, "sh", "-c", tick],
            true,
            125,
        ),
        (&["exec", "one", "sh", "-c", tick], true, 125),
        (&["attach", "--no-stdin", "one"], true, 1),
        (&["wait", "one"], false, 1),
        (
            &["run", "-i", "--name", "three", &image, "sh", "-c", tick],
            true,
            125,
        ),
    ];
    for (words, prints, code) in clients {
        let child = attached(&node, words, prints)?;
        if !prints {
            // Whether it has asked by now or is about to: it fails in the same way.
            ctl.ok(&["ps"])?;
        }
        node.agent.kill9()?;
        let ended: Ended = child.wait_with_output().context("wait for ctl")?.into();
        assert_eq!(ended.code, code, "{words:?}: {ended:?}");
        assert!(
            ended.stderr.starts_with("error: ") && ended.stderr.contains("\nhint: "),
            "{words:?}: {ended:?}"
        );
        node.agent.spawn_again()?;
        node.agent.serving().await?;
    }
    // None of it was the containers' concern.
    node.cri = node.agent.cri().await?;
    let names = ctl.ok(&["ps", "--format", "{{.Names}}"])?;
    assert_eq!(names, "three\ntwo\none");
    ctl.ok(&["rm", "-f", "one", "two", "three"])?;
    node.finish().await
}

#[tokio::test]
async fn the_terminal_is_as_it_was() -> Result<()> {
    let mut node = Node::start().await?;
    let ctl = node.ctl()?;
    ctl.ok(&["run", "-d", "--name", "one", &node.image, "/bin/pause"])?;
    let image = node.image.clone();
    for words in [
        &["run", "-it", "--name", "two", &image, "sh"][..],
        &["exec", "-it", "one", "sh"],
    ] {
        let after = "; echo code-$?; stty -a | tr ' ;' '\\n\\n' | grep -xE 'icanon|echo|isig|opost' | tr '\\n' +";
        let mut session = Session::start_and_then(&node, words, after)?;
        session.send(b"echo here-$((3+3))\n")?;
        session.shows("here-6")?;
        node.agent.kill9()?;
        session.shows("the connection to the agent was lost")?;
        session.shows("code-125")?;
        session.shows("opost+isig+icanon+echo+")?;
        node.agent.spawn_again()?;
        node.agent.serving().await?;
    }
    node.cri = node.agent.cri().await?;
    ctl.ok(&["rm", "-f", "one", "two"])?;
    node.finish().await
}
