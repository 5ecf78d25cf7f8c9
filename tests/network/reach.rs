//! Sandboxes, their neighbours and the host.

use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, TcpListener};

use anyhow::Result;
use harness::node::Node;

use crate::{PAGE, addresses, fetch, fetch_from_host, gateways, serve};

#[tokio::test]
async fn sandboxes_reach_each_other_and_the_host_reaches_them() -> Result<()> {
    let node = Node::start().await?;
    let (one, two) = (node.sandbox("one").await?, node.sandbox("two").await?);
    serve(&node, &one, 8080).await?;
    let client = node.run(&two, "client", &["/bin/pause"]).await?;
    let all = addresses(&node, &one.id).await?;
    assert_eq!(
        all.iter().map(|one| one.is_ipv6()).collect::<Vec<_>>(),
        [false, true]
    );
    for address in all {
        assert_eq!(
            fetch(&node, &client, address, 8080).await?.as_deref(),
            Some(PAGE),
            "{address} from a neighbour"
        );
        assert_eq!(
            fetch_from_host(address, 8080).as_deref(),
            Some(PAGE),
            "{address} from the host"
        );
    }
    node.finish().await
}

#[tokio::test]
async fn sandboxes_reach_the_host() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("one").await?;
    let client = node.run(&sandbox, "client", &["/bin/pause"]).await?;
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut request = [0; 1024];
            // Whoever goes away meanwhile is missed by nobody.
            let _ = client.read(&mut request);
            let _ = client.write_all(
                format!(
                    "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{PAGE}",
                    PAGE.len()
                )
                .as_bytes(),
            );
        }
    });
    let gateways = gateways(&node, &client).await?;
    assert_eq!(gateways.len(), 2, "{gateways:?}");
    for gateway in gateways {
        assert_eq!(
            fetch(&node, &client, gateway, port).await?.as_deref(),
            Some(PAGE),
            "{gateway}"
        );
    }
    node.finish().await
}

#[tokio::test]
async fn every_sandbox_has_addresses_of_its_own_and_gets_back_what_is_free() -> Result<()> {
    let node = Node::start().await?;
    let mut seen = Vec::new();
    for number in 0..10 {
        let sandbox = node.sandbox(&format!("pod-{number}")).await?;
        seen.extend(addresses(&node, &sandbox.id).await?);
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((count, seen.len()), (20, 20));
    node.remove_all().await?;
    // Everything is free again: many more than the pool could hold if it were not.
    for _ in 0..20 {
        let sandbox = node.sandbox("again").await?;
        node.cri.remove_sandbox(&sandbox.id).await?;
    }
    node.finish().await
}

#[tokio::test]
async fn a_sandbox_without_addresses_left_is_refused() -> Result<()> {
    // Network, broadcast and the bridge's own leave five.
    let options =
        harness::agent::Options::default().with("network", "subnets = [\"10.63.255.0/29\"]");
    let node = Node::start_with(options).await?;
    for number in 0..5 {
        node.sandbox(&format!("pod-{number}")).await?;
    }
    let config = node.sandbox_config("one-too-many");
    let refused = node.cri.run_sandbox(&config).await.err();
    assert_eq!(
        refused.map(|status| status.code()),
        Some(tonic::Code::ResourceExhausted)
    );
    node.finish().await
}

#[tokio::test]
async fn the_bridge_takes_no_router_advertisements() -> Result<()> {
    let node = Node::start().await?;
    node.sandbox("one").await?;
    // A bridge's ports take none anyway; what passes from port to port is dropped.
    let bridge = node.agent.slot().names().bridge;
    let value = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{bridge}/accept_ra"))?;
    assert_eq!(value.trim(), "0", "{bridge}");
    node.finish().await
}
