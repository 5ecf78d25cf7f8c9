//! The range that a kubelet gives this node's pods.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use harness::node::{Node, Sandbox};
use proto::cri::{NetworkConfig, RuntimeConfig, UpdateRuntimeConfigRequest};
use tonic::{Code, Status};

use crate::{PAGE, addresses, fetch, fetch_from_host, serve};

pub(crate) async fn set(node: &Node, cidr: &str) -> Result<(), Status> {
    let network_config = Some(NetworkConfig {
        pod_cidr: cidr.to_owned(),
    });
    let request = UpdateRuntimeConfigRequest {
        runtime_config: Some(RuntimeConfig { network_config }),
    };
    let mut runtime = node.cri.runtime.clone();
    runtime.update_runtime_config(request).await.map(drop)
}

/// Returns the number of the agent's slot, to have ranges of its own.
pub(crate) fn number(node: &Node) -> String {
    let prefix = node.agent.slot().names().prefix;
    prefix
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_owned()
}

pub(crate) async fn in_range(
    node: &Node,
    sandbox: &Sandbox,
    starts: &[&str],
) -> Result<Vec<IpAddr>> {
    let found = addresses(node, &sandbox.id).await?;
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    ensure!(texts.len() == starts.len(), "{texts:?} for {starts:?}");
    for (text, start) in texts.iter().zip(starts) {
        ensure!(text.starts_with(start), "{text} for {start}");
    }
    Ok(found)
}

fn ip(words: &str) -> Result<()> {
    let mut command = std::process::Command::new("ip");
    harness::command::run(command.args(words.split(' '))).map(drop)
}

/// A bridge of the host's that is not the agent's, until it is dropped.
struct Bridge(String);

impl Bridge {
    fn new(name: String) -> Result<Self> {
        ip(&format!("link add {name} type bridge"))?;
        Ok(Self(name))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let removed = ip(&format!("link del {}", self.0));
        if !std::thread::panicking() {
            assert!(removed.is_ok(), "{removed:?}");
        }
    }
}

#[tokio::test]
async fn new_pods_are_in_it_and_the_others_keep_what_they_have() -> Result<()> {
    let mut node = Node::start().await?;
    let number = number(&node);
    let own = node.agent.slot().names().prefix;
    let before = node.sandbox("before").await?;
    let configured = addresses(&node, &before.id).await?;
    serve(&node, &before, 8080).await?;

    set(&node, &format!("198.18.{number}.0/24,fd99:{number}::/64")).await?;
    let (first, sixth) = (format!("198.18.{number}."), format!("fd99:{number}::"));
    let within = node.sandbox("within").await?;
    let given = in_range(&node, &within, &[&first, &sixth]).await?;
    serve(&node, &within, 8080).await?;
    let client = node.run(&within, "client", &["/bin/pause"]).await?;
    // Whoever has addresses of either range reaches the other, and so does the host.
    for address in &configured {
        let page = fetch(&node, &client, *address, 8080).await?;
        assert_eq!(page.as_deref(), Some(PAGE), "{address}");
    }
    let visitor = node.run(&before, "client", &["/bin/pause"]).await?;
    for address in &given {
        let page = fetch(&node, &visitor, *address, 8080).await?;
        assert_eq!(page.as_deref(), Some(PAGE), "{address}");
        assert_eq!(fetch_from_host(*address, 8080).as_deref(), Some(PAGE));
    }
    // A person's container stays in the configured range.
    let words = ["run", "--rm", node.image.as_str(), "/bin/ip", "-4", "addr"];
    let text = node.ctl()?.ok(&words)?;
    assert!(text.contains(&format!("inet {own}")), "{text}");

    // The kubelet does not say it again after a restart of ours; an empty one says nothing.
    node.restart().await?;
    set(&node, "").await?;
    assert_eq!(addresses(&node, &within.id).await?, given);
    let later = node.sandbox("later").await?;
    in_range(&node, &later, &[&first, &sixth]).await?;

    // Another range, of one family: the pods of the first keep their addresses and stay reachable.
    set(&node, &format!("198.19.{number}.0/24")).await?;
    let other = node.sandbox("other").await?;
    in_range(&node, &other, &[&format!("198.19.{number}.")]).await?;
    node.restart().await?;
    for address in &given {
        assert_eq!(fetch_from_host(*address, 8080).as_deref(), Some(PAGE));
    }
    node.cri.remove_sandbox(&later.id).await?;
    node.finish().await
}

#[tokio::test]
async fn what_cannot_be_a_range_is_refused_and_changes_nothing() -> Result<()> {
    let node = Node::start().await?;
    let number = number(&node);
    let own = node.agent.slot().names().prefix;
    let before = node.sandbox("before").await?;
    for cidr in [
        "nonsense",
        "198.18.0.1",
        "198.18.1.0/24,198.19.1.0/24",
        "127.0.0.0/16",
        "224.0.0.0/16",
        "fe80::/64",
        "198.18.1.0/30",
        &format!("{own}7.0/24"),
    ] {
        let refused = set(&node, cidr).await.err();
        let refused = refused.with_context(|| format!("{cidr} was taken"))?;
        assert_eq!(refused.code(), Code::InvalidArgument, "{cidr}: {refused}");
    }
    // A range that the host has elsewhere.
    let elsewhere = Bridge::new(format!("natestx{number}"))?;
    ip(&format!(
        "addr add 198.18.{number}.9/24 dev {}",
        elsewhere.0
    ))?;
    let refused = set(&node, &format!("198.18.{number}.0/24")).await;
    let refused = refused.err().context("a range in use was taken")?;
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains(&elsewhere.0), "{refused}");
    drop(elsewhere);

    let after = node.sandbox("after").await?;
    let found = addresses(&node, &after.id).await?;
    assert!(found[0].to_string().starts_with(&own), "{found:?}");
    node.cri.remove_sandbox(&before.id).await?;
    node.finish().await
}
