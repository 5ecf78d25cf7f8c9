//! Bridge, host-local and portmap as Debian has them.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context as _, Result};
use harness::command;
use harness::node::{Node, Sandbox};
use harness::wait;
use proto::cri::{PortMapping, Protocol};

use crate::host::{DUAL, network_condition, on_host};

/// Serves a page on port 80, on IPv4 and IPv6, once it listens.
async fn serve(node: &Node, sandbox: &Sandbox) -> Result<String> {
    let line = "mkdir /www && echo the page >/www/index.html && exec httpd -f -p 80 -h /www";
    let id = node
        .run(sandbox, "server", &["/bin/sh", "-c", line])
        .await?;
    wait::until_async("the server listens", || async {
        let listening = "grep -qi ':0050 .* 0A ' /proc/net/tcp /proc/net/tcp6";
        Ok(node.exec(&id, listening).await.ok())
    })
    .await?;
    Ok(id)
}

async fn addresses(node: &Node, sandbox: &Sandbox) -> Result<Vec<IpAddr>> {
    let network = node.cri.sandbox_status(&sandbox.id).await?.network;
    let network = network.unwrap_or_default();
    std::iter::once(network.ip)
        .chain(network.additional_ips.into_iter().map(|one| one.ip))
        .map(|text| {
            text.parse()
                .with_context(|| format!("'{text}' is no address"))
        })
        .collect()
}

fn url(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(ip) => format!("http://{ip}:{port}/"),
        IpAddr::V6(ip) => format!("http://[{ip}]:{port}/"),
    }
}

/// Fetches from the host that the test plays.
fn fetch_from_host(address: IpAddr, port: u16) -> Option<String> {
    let answer = harness::http::request((address, port).into(), "GET", "/", &[], &[]).ok()?;
    Some(String::from_utf8_lossy(&answer.body).trim().to_owned())
}

/// Waits until the host's IPv6 address on the bridge counts: nobody else was seen to have it.
fn host_has_its_addresses() -> Result<()> {
    wait::until("the bridge has its addresses", || {
        let tentative = [
            "-6",
            "-o",
            "address",
            "show",
            "dev",
            "cnitest0",
            "tentative",
        ];
        let text = command::run(Command::new("ip").args(tentative))?;
        Ok(text.trim().is_empty().then_some(()))
    })
}

#[test]
fn pods_have_both_families_and_reach_each_other_and_the_host() -> Result<()> {
    on_host(async |host| {
        host.configure(DUAL)?;
        let node = host.node().await?;
        assert!(network_condition(&node).await?.status);
        let (one, two) = (node.sandbox("one").await?, node.sandbox("two").await?);
        serve(&node, &one).await?;
        let client = node.run(&two, "client", &["/bin/pause"]).await?;
        let targets = addresses(&node, &one).await?;
        assert_eq!(
            targets.iter().map(IpAddr::is_ipv4).collect::<Vec<_>>(),
            [true, false]
        );
        host_has_its_addresses()?;
        for target in targets {
            assert_eq!(
                fetch_from_host(target, 80).as_deref(),
                Some("the page"),
                "{target}"
            );
            let line = format!("timeout 10 wget -q -O - {}", url(target, 80));
            assert_eq!(
                node.exec(&client, &line).await?.trim(),
                "the page",
                "{target}"
            );
        }
        // Its own name leads to its own addresses.
        let own = addresses(&node, &two).await?;
        let hosts = node
            .exec(&client, "cat /etc/hosts; ip -o link show lo")
            .await?;
        assert!(
            own.iter().all(|ip| hosts.contains(&ip.to_string())),
            "{hosts}"
        );
        assert!(hosts.contains("LOOPBACK,UP"), "the loopback is up: {hosts}");
        assert_eq!(host.reserved(), 4);
        host.finish(node).await
    })
}

#[test]
fn host_ports_of_every_protocol_are_published_and_withdrawn() -> Result<()> {
    on_host(async |host| {
        host.configure(DUAL)?;
        let node = host.node().await?;
        let mapping = |protocol: Protocol, host_ip: &str| PortMapping {
            protocol: protocol.into(),
            container_port: 80,
            host_port: 18_080,
            host_ip: host_ip.to_owned(),
        };
        let mut config = node.sandbox_config("server");
        config.port_mappings = vec![
            mapping(Protocol::Tcp, ""),
            mapping(Protocol::Udp, "127.0.0.1"),
            mapping(Protocol::Sctp, ""),
        ];
        let sandbox = node.sandbox_of(config).await?;
        serve(&node, &sandbox).await?;
        let gateway: IpAddr = "10.88.7.1".parse()?;
        assert_eq!(
            fetch_from_host(gateway, 18_080).as_deref(),
            Some("the page")
        );
        let rules = || command::run(Command::new("iptables-save").args(["-t", "nat"]));
        let published = rules()?;
        for part in ["-p tcp", "-p udp", "-p sctp", "-d 127.0.0.1/32 -p udp"] {
            assert!(published.contains(part), "{part} in {published}");
        }
        node.cri.stop_sandbox(&sandbox.id).await?;
        assert_eq!(fetch_from_host(gateway, 18_080), None);
        assert!(!rules()?.contains("18080"));
        host.finish(node).await
    })
}

#[test]
fn pods_of_the_hosts_network_and_containers_of_people_have_no_plugins() -> Result<()> {
    on_host(async |host| {
        host.configure(DUAL)?;
        let node = host.node().await?;
        let ctl = node.ctl()?;
        let route = ctl.ok(&["run", "--rm", &node.image, "ip", "route"])?;
        assert!(
            route.contains("default via 10.") && !route.contains("10.88."),
            "{route}"
        );
        assert_eq!(host.reserved(), 0);
        host.finish(node).await
    })
}

#[test]
fn pods_side_by_side_get_addresses_of_their_own() -> Result<()> {
    on_host(async |host| {
        host.configure(DUAL)?;
        let node = std::sync::Arc::new(host.node().await?);
        let pods = (0..8).map(|number| {
            let node = std::sync::Arc::clone(&node);
            tokio::spawn(async move {
                let sandbox = node.sandbox(&format!("pod-{number}")).await?;
                addresses(&node, &sandbox).await
            })
        });
        let mut all = Vec::new();
        for pod in pods.collect::<Vec<_>>() {
            all.extend(pod.await??);
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 16);
        let node = std::sync::Arc::into_inner(node).context("nobody else has the node")?;
        host.finish(node).await
    })
}
