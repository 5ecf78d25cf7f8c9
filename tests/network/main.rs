//! Who reaches whom.
#![forbid(unsafe_code)]

mod ahead;
mod local;
mod modes;
mod pod_range;
mod ports;
mod reach;
mod side_by_side;

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use harness::node::{Node, Sandbox};

/// A page every server here answers with.
const PAGE: &str = "the page";

/// Serves [`PAGE`] on this port of the sandbox, on IPv4 and IPv6, once it listens.
async fn serve(node: &Node, sandbox: &Sandbox, port: u16) -> Result<String> {
    let line =
        format!("mkdir /www && echo {PAGE} >/www/index.html && exec httpd -f -p {port} -h /www");
    let id = node
        .run(sandbox, "server", &["/bin/sh", "-c", &line])
        .await?;
    harness::wait::until_async("the server listens", || async {
        let listening = format!("grep -qi ':{port:04X} .* 0A ' /proc/net/tcp /proc/net/tcp6");
        Ok(node.exec(&id, &listening).await.ok())
    })
    .await?;
    Ok(id)
}

/// Returns the addresses of a sandbox.
async fn addresses(node: &Node, sandbox: &str) -> Result<Vec<IpAddr>> {
    let network = node
        .cri
        .sandbox_status(sandbox)
        .await?
        .network
        .unwrap_or_default();
    let all =
        std::iter::once(network.ip).chain(network.additional_ips.into_iter().map(|one| one.ip));
    all.map(|text| {
        text.parse()
            .with_context(|| format!("'{text}' is no address"))
    })
    .collect()
}

/// Fetches a page from within a container; `None` if it cannot be reached.
async fn fetch(node: &Node, container: &str, host: IpAddr, port: u16) -> Result<Option<String>> {
    let host = if host.is_ipv6() {
        format!("[{host}]")
    } else {
        host.to_string()
    };
    let url = format!("http://{host}:{port}/");
    let answer = node
        .cri
        .exec(
            container,
            &["/bin/timeout", "5", "wget", "-q", "-O", "-", &url],
            20,
        )
        .await?;
    Ok((answer.exit_code == 0).then(|| String::from_utf8_lossy(&answer.stdout).trim().to_owned()))
}

/// Fetches a page from the host; `None` if it cannot be reached.
fn fetch_from_host(host: IpAddr, port: u16) -> Option<String> {
    let answer = harness::http::request((host, port).into(), "GET", "/", &[], &[]).ok()?;
    Some(String::from_utf8_lossy(&answer.body).trim().to_owned())
}

/// Returns the sandbox's default gateways: the host's addresses on the bridge.
async fn gateways(node: &Node, container: &str) -> Result<Vec<IpAddr>> {
    let text = node.exec(container, "ip route; ip -6 route").await?;
    let found = text
        .lines()
        .filter(|line| line.starts_with("default via "))
        .filter_map(|line| line.split(' ').nth(2));
    found
        .map(|text| {
            text.parse()
                .with_context(|| format!("'{text}' is no address"))
        })
        .collect()
}
