//! A machine's whole network and everything else an agent touches, before and after.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use harness::agent::Agent;
use harness::leak::Scope;
use harness::node::Node;
use harness::registry::free_address;
use harness::{command, process};
use proto::cri::{PortMapping, Protocol};

/// Moves this thread, and whatever it starts from now on, into a network of its own.
fn enter_network() -> Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .context("make a network namespace")?;
    command::run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    // As on a fresh host: the settings of one that forwards already are inherited, and nothing
    // would have to be put back.
    for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        std::fs::write(Path::new("/proc/sys/net").join(setting), "0")?;
    }
    Ok(())
}

/// Returns links, addresses, routes, rules and every setting of this thread's network.
fn network() -> Result<BTreeSet<String>> {
    let settings = "cd /proc/sys/net && grep -r . ipv4 ipv6 core netfilter 2>/dev/null | \
        grep -vE 'stable_secret|/route/flush|random|nf_conntrack_count|sockstat|cmsg'; true";
    let mut found = BTreeSet::new();
    for words in [
        &["ip", "-o", "link"][..],
        &["ip", "-o", "address"],
        &["ip", "route", "show", "table", "all"],
        &["ip", "-6", "route", "show", "table", "all"],
        &["ip", "rule"],
        &["nft", "list", "ruleset"],
        &["sh", "-c", settings],
    ] {
        let text = command::run(Command::new(words[0]).args(&words[1..]))?;
        found.extend(
            text.lines()
                .map(|line| format!("{}: {line}", words[..2].join(" "))),
        );
    }
    Ok(found)
}

fn difference(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Vec<String> {
    before.symmetric_difference(after).cloned().collect()
}

/// Brings sandboxes, containers, ports, sessions and local containers up and down.
async fn a_day_of_work(node: &Node) -> Result<()> {
    let ctl = node.ctl()?;
    for number in 0..3 {
        let mut config = node.sandbox_config(&format!("pod-{number}"));
        config.port_mappings = vec![PortMapping {
            protocol: Protocol::Tcp.into(),
            container_port: 80,
            host_port: free_address()?.port().into(),
            host_ip: String::new(),
        }];
        let sandbox = node.sandbox_of(config).await?;
        let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
        node.run(&sandbox, "ended", &["/bin/true"]).await?;
        node.exec(&id, "echo hello >/file").await?;
        ctl.ok(&[
            "run",
            "-d",
            "--name",
            &format!("mine-{number}"),
            "-p",
            "80",
            &node.image,
            "/bin/pause",
        ])?;
    }
    for number in 0..3 {
        ctl.ok(&["rm", "-f", &format!("mine-{number}")])?;
    }
    node.remove_all().await
}

#[tokio::test]
async fn sandboxes_leave_nothing_but_the_agents_own() -> Result<()> {
    let node = Node::start().await?;
    a_day_of_work(&node).await?;
    node.nothing_left().await?;
    // No directory of a sandbox or container is left either.
    let before = settled(&node).await?;
    a_day_of_work(&node).await?;
    node.nothing_left().await?;
    let after = settled(&node).await?;
    let changed: Vec<_> = after.symmetric_difference(&before).collect();
    assert!(changed.is_empty(), "{changed:#?}");
    node.finish().await
}

/// Returns every path below the agent's directories, once its housekeeping has deleted what was removed.
async fn settled(node: &Node) -> Result<BTreeSet<PathBuf>> {
    let trash = node.agent.root().join("snapshots/trash");
    harness::wait::until("the trash is empty", || {
        Ok(std::fs::read_dir(&trash)?.next().is_none().then_some(()))
    })?;
    Ok(paths(&node.agent.state())?
        .into_iter()
        .chain(paths(&node.agent.root())?)
        .collect())
}

#[tokio::test]
async fn the_network_is_as_it_was_found() -> Result<()> {
    enter_network()?;
    let before = network()?;
    let mut node = Node::start().await?;
    a_day_of_work(&node).await?;
    node.restart().await?;
    a_day_of_work(&node).await?;
    node.nothing_left().await?;
    // Without sandboxes nothing needs the network any longer.
    node.agent.terminate()?;
    harness::wait::until("the network is as it was", || {
        let left = difference(&before, &network()?);
        anyhow::ensure!(left.is_empty(), "{left:#?}");
        Ok(Some(()))
    })?;
    node.agent.finish()
}

/// The slot is the next test's as soon as the one before is killed; its agent goes on.
#[tokio::test]
async fn an_agent_whose_test_was_killed_is_ended_by_the_next() -> Result<()> {
    let agent = Agent::start().await?;
    let next = Scope {
        directory: agent.directory().join("of-the-next"),
        daemon: None,
        ..agent.scope()
    };
    next.clear()?;
    let left = process::read(agent.pid());
    assert!(left.as_ref().is_none_or(|one| one.state == 'Z'), "{left:?}");
    Ok(())
}

/// What [`harness::leak::Scope::clear`] does for a test that did not come to its end.
#[tokio::test]
async fn so_it_is_after_an_agent_that_was_killed_and_cleared_away() -> Result<()> {
    enter_network()?;
    let before = network()?;
    let mut node = Node::start().await?;
    node.sandbox("pod").await?;
    assert!(!difference(&before, &network()?).is_empty());
    node.agent.kill9()?;
    drop(node);
    let left = difference(&before, &network()?);
    assert!(left.is_empty(), "{left:#?}");
    Ok(())
}

fn paths(of: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut open = vec![of.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory)?.flatten() {
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    Ok(found)
}
