//! Ports of `ctl run -p`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use harness::node::Node;
use harness::registry::free_address;

use crate::{PAGE, fetch_from_host};

#[tokio::test]
async fn ctl_publishes_ports() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let port = free_address()?.port();
    let line = format!("mkdir /www && echo {PAGE} >/www/index.html && exec httpd -f -p 80 -h /www");
    ctl.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        &format!("{port}:80"),
        "-p",
        "80",
        &node.image,
        "sh",
        "-c",
        &line,
    ])?;
    for host in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        harness::wait::until("the page", || {
            Ok(fetch_from_host(host, port).filter(|page| page == PAGE))
        })?;
    }
    let told = ctl.ok(&["port", "web"])?;
    assert!(told.contains(&format!("0.0.0.0:{port}")), "{told}");
    let chosen = told
        .lines()
        .filter_map(|line| line.rsplit(':').next()?.parse::<u16>().ok())
        .find(|one| *one != port);
    assert_eq!(
        chosen
            .and_then(|chosen| fetch_from_host(Ipv4Addr::LOCALHOST.into(), chosen))
            .as_deref(),
        Some(PAGE)
    );
    ctl.ok(&["rm", "-f", "web"])?;
    assert_eq!(fetch_from_host(Ipv4Addr::LOCALHOST.into(), port), None);
    node.finish().await
}
