//! The network that waits for the next pod.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use harness::node::{Node, Sandbox};
use harness::registry::free_address;
use harness::{command, wait};
use proto::cri::{PortMapping, Protocol};
use serde_json::Value;

use crate::{PAGE, addresses, fetch_from_host, pod_range, serve};

/// Returns the indices of the links on the agent's bridge.
fn on_bridge(node: &Node) -> Result<BTreeSet<u64>> {
    let bridge = node.agent.slot().names().bridge;
    let mut list = std::process::Command::new("ip");
    let text = command::run(list.args(["-json", "link", "show"]))?;
    let all: Vec<Value> = serde_json::from_str(&text)?;
    let ours = all.iter().filter(|link| link["master"] == *bridge);
    Ok(ours.filter_map(|link| link["ifindex"].as_u64()).collect())
}

/// Waits until a network waits beside those of some pods; returns the index of its link.
async fn waiting(node: &Node, pods: &[u64]) -> Result<u64> {
    wait::until_async("a network waits", || async {
        let all = on_bridge(node)?;
        let others: Vec<_> = all.iter().filter(|one| !pods.contains(one)).collect();
        ensure!(all.len() == pods.len() + 1, "{all:?} beside {pods:?}");
        Ok(others.first().copied().copied())
    })
    .await
}

/// Runs a container in a pod and returns the index of the pod's link on the host.
async fn link(node: &Node, pod: &Sandbox) -> Result<u64> {
    let line = "cat /sys/class/net/eth0/iflink";
    let (code, text) = node.shell(pod, "link", line).await?;
    ensure!(code == 0, "{text}");
    text.trim().parse().context(text)
}

#[tokio::test]
async fn the_next_pod_takes_it_with_and_without_ports() -> Result<()> {
    let node = Node::start().await?;
    let first = node.sandbox("first").await?;
    let mut links = vec![link(&node, &first).await?];
    let ahead = waiting(&node, &links).await?;

    let port = free_address()?.port();
    let mut config = node.sandbox_config("second");
    config.port_mappings = vec![PortMapping {
        protocol: Protocol::Tcp.into(),
        container_port: 80,
        host_port: port.into(),
        host_ip: String::new(),
    }];
    let second = node.sandbox_of(config).await?;
    assert_eq!(link(&node, &second).await?, ahead);
    links.push(ahead);
    serve(&node, &second, 80).await?;
    for address in addresses(&node, &second.id).await? {
        assert_eq!(fetch_from_host(address, 80).as_deref(), Some(PAGE));
    }
    for host in ["127.0.0.1", "::1"] {
        let page = fetch_from_host(host.parse()?, port);
        assert_eq!(page.as_deref(), Some(PAGE), "{host}");
    }

    // A person's container takes none of the cluster's.
    let text = node
        .ctl()?
        .ok(&["run", "--rm", &node.image, "/bin/ip", "addr"])?;
    assert!(text.contains("eth0"), "{text}");
    node.cri.remove_sandbox(&first.id).await?;
    node.finish().await
}

#[tokio::test]
async fn who_sets_what_links_take_over_has_a_new_one() -> Result<()> {
    let node = Node::start().await?;
    let first = node.sandbox("first").await?;
    let links = [link(&node, &first).await?];
    let ahead = waiting(&node, &links).await?;
    let mut config = node.sandbox_config("second");
    let sysctls = &mut config.linux.get_or_insert_default().sysctls;
    sysctls.insert(
        "net.ipv4.conf.default.arp_ignore".to_owned(),
        "1".to_owned(),
    );
    let second = node.sandbox_of(config).await?;
    assert_ne!(link(&node, &second).await?, ahead);
    let line = "cat /proc/sys/net/ipv4/conf/eth0/arp_ignore";
    assert_eq!(
        node.shell(&second, "look", line).await?,
        (0, "1\n".to_owned())
    );
    node.finish().await
}

#[tokio::test]
async fn it_has_no_address_of_a_range_that_was_given_up() -> Result<()> {
    let node = Node::start().await?;
    let first = node.sandbox("first").await?;
    let links = [link(&node, &first).await?];
    waiting(&node, &links).await?;
    let number = pod_range::number(&node);
    pod_range::set(&node, &format!("198.18.{number}.0/24")).await?;
    let second = node.sandbox("second").await?;
    pod_range::in_range(&node, &second, &[&format!("198.18.{number}.")]).await?;
    node.finish().await
}

#[tokio::test]
async fn a_killed_agent_leaves_none_behind() -> Result<()> {
    let mut node = Node::start().await?;
    let first = node.sandbox("first").await?;
    let links = [link(&node, &first).await?];
    waiting(&node, &links).await?;
    node.agent.kill9()?;
    wait::until_async("it is gone", || async {
        Ok((on_bridge(&node)? == BTreeSet::from(links)).then_some(()))
    })
    .await?;
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    let second = node.sandbox("second").await?;
    let both = [links[0], link(&node, &second).await?];
    waiting(&node, &both).await?;
    node.finish().await
}

#[tokio::test]
async fn one_that_somebody_took_away_is_not_given() -> Result<()> {
    let node = Node::start().await?;
    let first = node.sandbox("first").await?;
    let links = [link(&node, &first).await?];
    let ahead = waiting(&node, &links).await?;
    let all = command::run(std::process::Command::new("ip").args(["-json", "link", "show"]))?;
    let all: Vec<Value> = serde_json::from_str(&all)?;
    let name = all.iter().find(|one| one["ifindex"] == ahead);
    let name = name
        .and_then(|one| one["ifname"].as_str())
        .context("no name")?;
    let mut delete = std::process::Command::new("ip");
    command::run(delete.args(["link", "delete", name]))?;
    let second = node.sandbox("second").await?;
    let found = link(&node, &second).await?;
    assert_ne!(found, ahead);
    serve(&node, &second, 80).await?;
    for address in addresses(&node, &second.id).await? {
        assert_eq!(fetch_from_host(address, 80).as_deref(), Some(PAGE));
    }
    node.finish().await
}
