//! The host's network, and none.

use anyhow::Result;
use harness::node::Node;
use proto::cri::{NamespaceMode, PortMapping};

#[tokio::test]
async fn the_hosts_network_is_given_where_asked() -> Result<()> {
    let node = Node::start().await?;
    let mut config = node.sandbox_config("host");
    config.hostname = String::new();
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.namespace_options.get_or_insert_default().network = NamespaceMode::Node.into();
    // A kubelet names every port of such a pod as the host's. Taken by somebody already, they cannot
    // be published twice.
    let taken = std::net::TcpListener::bind("0.0.0.0:0")?;
    let port = i32::from(taken.local_addr()?.port());
    config.port_mappings = vec![PortMapping {
        container_port: port,
        host_port: port,
        ..PortMapping::default()
    }];
    let sandbox = node.sandbox_of(config).await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.namespace_options.get_or_insert_default().network = NamespaceMode::Node.into();
    let id = node.run_of(&sandbox, &config).await?;
    let ours = std::fs::read_link("/proc/self/ns/net")?
        .display()
        .to_string();
    assert_eq!(
        node.exec(&id, "readlink /proc/self/ns/net").await?.trim(),
        ours
    );
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    assert_eq!(node.exec(&id, "hostname").await?, host);
    let status = node
        .cri
        .sandbox_status(&sandbox.id)
        .await?
        .network
        .unwrap_or_default();
    assert!(
        !status.ip.starts_with(&node.agent.slot().names().prefix),
        "{status:?}"
    );
    node.finish().await
}

#[tokio::test]
async fn ctl_gives_no_network_or_anothers() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let none = ctl.ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        &node.image,
        "sh",
        "-c",
        "ls /sys/class/net",
    ])?;
    assert_eq!(none, "lo");
    ctl.ok(&["run", "-d", "--name", "first", &node.image, "/bin/pause"])?;
    let same = [
        "sh",
        "-c",
        "readlink /proc/self/ns/net; cat /sys/class/net/eth0/address; hostname",
    ];
    let first = ctl.ok(&[&["exec", "first"], &same[..]].concat())?;
    let joined = ctl.ok(&[
        &[
            "run",
            "--rm",
            "--network",
            "container:first",
            node.image.as_str(),
        ],
        &same[..],
    ]
    .concat())?;
    assert_eq!(first, joined);
    ctl.ok(&["rm", "-f", "first"])?;
    node.finish().await
}

/// As docker has it: a network goes with the run of the container that it is of, and who has joined
/// it joins the next one at its own next start.
#[tokio::test]
async fn a_network_that_is_joined_is_the_one_of_the_moment() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let pause = [node.image.as_str(), "/bin/pause"];
    ctl.ok(&[&["run", "-d", "--name", "first"], &pause[..]].concat())?;
    let joins = [
        "run",
        "-d",
        "--name",
        "second",
        "--network",
        "container:first",
    ];
    ctl.ok(&[&joins[..], &pause].concat())?;
    let network = |name: &str| ctl.ok(&["exec", name, "readlink", "/proc/self/ns/net"]);
    assert_eq!(network("first")?, network("second")?);
    ctl.ok(&["restart", "first"])?;
    assert_ne!(network("first")?, network("second")?);
    ctl.ok(&["restart", "second"])?;
    assert_eq!(network("first")?, network("second")?);
    ctl.ok(&["stop", "-t", "0", "first"])?;
    let refused = ctl.run(&["restart", "-t", "0", "second"])?;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("is not running"), "{refused:?}");
    ctl.ok(&["start", "first"])?;
    ctl.ok(&["start", "second"])?;
    assert_eq!(network("first")?, network("second")?);
    ctl.ok(&["rm", "-f", "first", "second"])?;
    node.finish().await
}
