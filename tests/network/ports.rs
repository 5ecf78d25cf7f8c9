//! Published ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};

use anyhow::{Context as _, Result};
use harness::node::{Node, Sandbox};
use harness::registry::free_address;
use proto::cri::{PortMapping, Protocol};
use tonic::Code;

use crate::{PAGE, addresses, fetch, fetch_from_host, gateways, serve};

fn mapping(host_ip: &str, host_port: u16) -> PortMapping {
    PortMapping {
        protocol: Protocol::Tcp.into(),
        container_port: 80,
        host_port: host_port.into(),
        host_ip: host_ip.to_owned(),
    }
}

async fn published(node: &Node, name: &str, mapping: PortMapping) -> Result<(Sandbox, String)> {
    let mut config = node.sandbox_config(name);
    config.port_mappings = vec![mapping];
    let sandbox = node.sandbox_of(config).await?;
    let server = serve(node, &sandbox, 80).await?;
    Ok((sandbox, server))
}

/// Returns an address of the host that is neither loopback nor a bridge's.
fn outer_address() -> Result<IpAddr> {
    // Nothing is sent; the kernel only chooses a source.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket
        .connect((Ipv4Addr::new(192, 0, 2, 1), 9))
        .context("the host has a default route")?;
    Ok(socket.local_addr()?.ip())
}

#[tokio::test]
async fn a_host_port_is_reached_from_everywhere_it_should_be() -> Result<()> {
    let node = Node::start().await?;
    let port = free_address()?.port();
    let (_, server) = published(&node, "server", mapping("", port)).await?;
    let neighbour = node.sandbox("neighbour").await?;
    let client = node.run(&neighbour, "client", &["/bin/pause"]).await?;
    let loopback = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let mut hosts = gateways(&node, &client).await?;
    hosts.extend(outer_address());
    for host in hosts.iter().chain(&loopback) {
        assert_eq!(
            fetch_from_host(*host, port).as_deref(),
            Some(PAGE),
            "{host} from the host"
        );
    }
    for host in &hosts {
        assert_eq!(
            fetch(&node, &client, *host, port).await?.as_deref(),
            Some(PAGE),
            "{host} from a neighbour"
        );
        assert_eq!(
            fetch(&node, &server, *host, port).await?.as_deref(),
            Some(PAGE),
            "{host} from itself"
        );
    }
    node.finish().await
}

#[tokio::test]
async fn a_port_of_one_address_is_only_there() -> Result<()> {
    let node = Node::start().await?;
    let port = free_address()?.port();
    published(&node, "server", mapping("127.0.0.1", port)).await?;
    let neighbour = node.sandbox("neighbour").await?;
    let client = node.run(&neighbour, "client", &["/bin/pause"]).await?;
    assert_eq!(
        fetch_from_host(Ipv4Addr::LOCALHOST.into(), port).as_deref(),
        Some(PAGE)
    );
    assert_eq!(fetch_from_host(Ipv6Addr::LOCALHOST.into(), port), None);
    for gateway in gateways(&node, &client).await? {
        assert_eq!(
            fetch_from_host(gateway, port),
            None,
            "{gateway} from the host"
        );
        assert_eq!(
            fetch(&node, &client, gateway, port).await?,
            None,
            "{gateway} from a neighbour"
        );
    }
    node.finish().await
}

#[tokio::test]
async fn a_port_is_free_again_when_its_sandbox_stops() -> Result<()> {
    let node = Node::start().await?;
    let port = free_address()?.port();
    let (first, _) = published(&node, "first", mapping("", port)).await?;
    let mut second = node.sandbox_config("second");
    second.port_mappings = vec![mapping("", port)];
    let refused = node
        .cri
        .run_sandbox(&second)
        .await
        .err()
        .map(|status| status.code());
    assert!(
        matches!(
            refused,
            Some(Code::AlreadyExists | Code::FailedPrecondition)
        ),
        "{refused:?}"
    );
    node.cri.stop_sandbox(&first.id).await?;
    assert_eq!(fetch_from_host(Ipv4Addr::LOCALHOST.into(), port), None);
    let (_, _) = published(&node, "second", mapping("", port)).await?;
    assert_eq!(
        fetch_from_host(Ipv4Addr::LOCALHOST.into(), port).as_deref(),
        Some(PAGE)
    );
    node.finish().await
}

#[tokio::test]
async fn a_port_that_a_program_of_the_host_has_is_not_taken_from_it() -> Result<()> {
    let node = Node::start().await?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut config = node.sandbox_config("pod");
    config.port_mappings = vec![mapping("", listener.local_addr()?.port())];
    let refused = node
        .cri
        .run_sandbox(&config)
        .await
        .err()
        .map(|status| status.code());
    assert!(
        matches!(
            refused,
            Some(Code::AlreadyExists | Code::FailedPrecondition)
        ),
        "{refused:?}"
    );
    node.nothing_left().await?;
    node.finish().await
}

#[tokio::test]
async fn a_published_port_is_kept_from_the_hosts_programs() -> Result<()> {
    let mut node = Node::start().await?;
    let port = free_address()?.port();
    let (sandbox, _) = published(&node, "server", mapping("", port)).await?;
    for round in ["published", "after a restart"] {
        // All of these let an ended connection's port be taken, as servers do.
        for ip in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
            let taken = TcpListener::bind((ip.parse::<IpAddr>()?, port));
            let error = taken.err().map(|error| error.kind());
            assert_eq!(error, Some(std::io::ErrorKind::AddrInUse), "{ip}, {round}");
        }
        assert_eq!(
            fetch_from_host(Ipv6Addr::LOCALHOST.into(), port).as_deref(),
            Some(PAGE),
            "{round}"
        );
        node.restart().await?;
    }
    node.cri.stop_sandbox(&sandbox.id).await?;
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).context("the port is free again")?;
    node.finish().await
}

/// Sends back every datagram, the last of them "end", that comes to this port of a sandbox's network, which is that of a
/// process running this program.
fn echo_datagrams(node: &Node, program: &str, port: u16) -> Result<()> {
    let of = node.agent.running(program);
    let network = std::fs::File::open(format!(
        "/proc/{}/ns/net",
        of.first().context("the program runs")?.pid
    ))?;
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || -> Result<()> {
        nix::sched::setns(network, nix::sched::CloneFlags::CLONE_NEWNET)?;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        ready.send(())?;
        let mut datagram = [0; 64];
        while !datagram.starts_with(b"end") {
            let (length, from) = socket.recv_from(&mut datagram)?;
            socket.send_to(&datagram[..length], from)?;
        }
        Ok(())
    });
    is_ready.recv().context("bind in the sandbox's network")
}

#[tokio::test]
async fn udp_ports_are_published_too() -> Result<()> {
    let node = Node::start().await?;
    let port = free_address()?.port();
    let mut config = node.sandbox_config("pod");
    config.port_mappings = vec![PortMapping {
        protocol: Protocol::Udp.into(),
        ..mapping("", port)
    }];
    let sandbox = node.sandbox_of(config).await?;
    node.run(&sandbox, "server", &["/bin/sleep", "22360"])
        .await?;
    echo_datagrams(&node, "/bin/sleep 22360", 80)?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_read_timeout(Some(std::time::Duration::from_millis(200)))?;
    harness::wait::until("the datagram comes back", || {
        socket.send(b"ping")?;
        let mut answer = [0; 16];
        Ok(socket
            .recv(&mut answer)
            .ok()
            .filter(|length| answer[..*length] == *b"ping")
            .map(|_| ()))
    })?;
    socket.send(b"end")?;
    node.finish().await
}

#[tokio::test]
async fn the_hosts_loopback_stays_closed() -> Result<()> {
    let node = Node::start().await?;
    // A published port is what opens the way, if anything does.
    let port = free_address()?.port();
    let (server, _) = published(&node, "server", mapping("", port)).await?;
    let mut config = node.sandbox_config("attacker");
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
        .privileged = true;
    let attacker = node.sandbox_of(config).await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
        .privileged = true;
    let id = node.run_of(&attacker, &config).await?;
    let gateway = gateways(&node, &id)
        .await?
        .into_iter()
        .find(IpAddr::is_ipv4)
        .context("an IPv4 gateway")?;
    let line = format!(
        "sysctl -w net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.eth0.route_localnet=1 && \
         ip addr del 127.0.0.1/8 dev lo && ip route add 127.0.0.0/8 via {gateway}"
    );
    node.exec(&id, &line).await?;
    for closed in [port, node.registry.address().port()] {
        assert_eq!(
            fetch(&node, &id, Ipv4Addr::LOCALHOST.into(), closed).await?,
            None,
            "127.0.0.1:{closed}"
        );
    }
    let own = addresses(&node, &server.id)
        .await?
        .into_iter()
        .find(IpAddr::is_ipv4)
        .context("an IPv4 address")?;
    assert_eq!(
        fetch(&node, &id, own, 80).await?.as_deref(),
        Some(PAGE),
        "the attacker's network works"
    );
    node.finish().await
}

#[tokio::test]
async fn an_sctp_port_is_led_to_its_pod_and_is_no_tcp_port() -> Result<()> {
    let node = Node::start().await?;
    let port = free_address()?.port();
    let sctp = PortMapping {
        protocol: Protocol::Sctp.into(),
        ..mapping("", port)
    };
    let run = |name: &str, mapping: &PortMapping| {
        let mut config = node.sandbox_config(name);
        config.port_mappings = vec![mapping.clone()];
        let node = &node;
        async move { node.sandbox_of(config).await }
    };
    let first = run("first", &sctp).await?;
    let address = node.cri.sandbox_status(&first.id).await?.network;
    let address = address.context("it has a network")?.ip;
    // No socket of the kind is needed, and the kernel may have none: the rules are what counts.
    let rules = harness::command::run(std::process::Command::new("nft").args(["list", "ruleset"]))?;
    let leads = |line: &str| line.contains(&port.to_string()) && line.contains(&address);
    assert!(
        rules
            .split(['\n', ','])
            .any(|element| element.contains("sctp") && leads(element)),
        "{rules}"
    );
    run("tcp", &mapping("", port)).await?;
    assert!(run("second", &sctp).await.is_err(), "the port is taken");
    node.finish().await
}
