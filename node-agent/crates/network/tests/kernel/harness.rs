//! A private "host" for each test: a network namespace with a runtime whose threads live in it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_network::{
    AttachSpec, Attachment, BridgeAttachment, Config, Guest, HostChanges, Ledger, LedgerError,
    ModeSpec, Network, PortMapping, Protocol,
};
use agent_sys::netns;

/// How long something that must work may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long something that must not work is given to do so.
const REFUSAL: Duration = Duration::from_millis(400);

/// Runs `test` in a network namespace of its own that plays the host.
pub(crate) fn on_host<F: Future<Output = ()>>(test: impl FnOnce(Host) -> F + Send) {
    let host = netns::create().unwrap();
    netns::run_in(host.as_fd(), || {
        run("ip", "link set lo up");
        // A new namespace takes over what the machine has; these tests begin with a host that forwards nothing.
        run(
            "sysctl",
            "-q -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0",
        );
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(test(Host {
            netns: host.try_clone()?,
            ledger: Arc::new(Memory::default()),
        }));
        Ok(())
    })
    .unwrap();
}

/// The namespace that plays the host.
pub(crate) struct Host {
    pub(crate) netns: OwnedFd,
    pub(crate) ledger: Arc<Memory>,
}

/// A ledger that only remembers.
#[derive(Default)]
pub(crate) struct Memory(Mutex<HostChanges>);

impl Ledger for Memory {
    fn record(&self, changes: &HostChanges) -> Result<(), LedgerError> {
        *self.0.lock().unwrap() = changes.clone();
        Ok(())
    }
}

impl Memory {
    pub(crate) fn changes(&self) -> HostChanges {
        self.0.lock().unwrap().clone()
    }
}

/// A sandbox that is attached.
pub(crate) struct Pod {
    pub(crate) netns: OwnedFd,
    pub(crate) attachment: Attachment,
}

impl Pod {
    pub(crate) fn bridge(&self) -> &BridgeAttachment {
        match &self.attachment {
            Attachment::Bridge(bridge) => bridge,
            other => panic!("{other:?} is not on the bridge"),
        }
    }

    pub(crate) fn ip4(&self) -> IpAddr {
        self.bridge().ipv4.unwrap().address.addr().into()
    }

    pub(crate) fn ip6(&self) -> IpAddr {
        self.bridge().ipv6.unwrap().address.addr().into()
    }
}

impl Host {
    /// Opens a network as an agent that starts now would.
    pub(crate) fn open(&self) -> Network {
        self.open_with(Config::default())
    }

    pub(crate) fn open_with(&self, config: Config) -> Network {
        let ledger = Arc::clone(&self.ledger);
        Network::open(config, self.ledger.changes(), ledger).unwrap()
    }

    /// Attaches a new sandbox to the bridge.
    pub(crate) async fn pod(&self, network: &Network, name: &str, ports: &[PortMapping]) -> Pod {
        let attachment = network.reserve(&spec(name, ports)).unwrap();
        let netns = netns::create().unwrap();
        attach(network, &attachment, &netns).await;
        Pod { netns, attachment }
    }
}

pub(crate) async fn attach(network: &Network, attachment: &Attachment, netns: &OwnedFd) {
    let guest = Guest {
        netns: netns.as_fd(),
        netlink: netns::route_socket_in(netns.as_fd()).unwrap(),
    };
    network.attach(attachment, Some(guest)).await.unwrap();
}

pub(crate) fn spec(name: &str, ports: &[PortMapping]) -> AttachSpec {
    AttachSpec {
        sandbox: name.parse().unwrap(),
        mode: ModeSpec::Bridge,
        ports: ports.to_vec(),
        source: agent_network::Source::Configured,
    }
}

pub(crate) fn tcp(host_ip: Option<&str>, host_port: u16, container_port: u16) -> PortMapping {
    PortMapping {
        protocol: Protocol::Tcp,
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port,
        container_port,
    }
}

/// Runs a program in the caller's namespace and returns its output; it must succeed.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program in a namespace.
pub(crate) fn run_in(netns: &OwnedFd, program: &str, arguments: &str) -> String {
    netns::run_in(netns.as_fd(), || Ok(run(program, arguments))).unwrap()
}

/// Sets a sysctl of a namespace.
pub(crate) fn sysctl_in(netns: &OwnedFd, key: &str, value: &str) {
    netns::run_in(netns.as_fd(), || {
        fs::write(format!("/proc/sys/{key}"), value)
    })
    .unwrap();
}

pub(crate) fn sysctl(key: &str) -> String {
    fs::read_to_string(format!("/proc/sys/{key}"))
        .unwrap()
        .trim()
        .to_owned()
}

/// A listener inside a namespace.
pub(crate) fn listen(netns: &OwnedFd, address: &str) -> TcpListener {
    netns::run_in(netns.as_fd(), || TcpListener::bind(address)).unwrap()
}

/// Connects from a namespace; the connection must reach `listener`. Returns who it saw.
pub(crate) async fn reach(from: &OwnedFd, to: SocketAddr, listener: &TcpListener) -> IpAddr {
    let (from, listener) = (from.try_clone().unwrap(), listener.try_clone().unwrap());
    let work = move || {
        let mut client = netns::run_in(from.as_fd(), || TcpStream::connect_timeout(&to, PATIENCE))
            .unwrap_or_else(|error| panic!("{to} is not reached: {error}"));
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut server, peer) = listener.accept().unwrap();
        client.write_all(b"ping").unwrap();
        let mut bytes = [0; 4];
        server.read_exact(&mut bytes).unwrap();
        server.write_all(b"pong").unwrap();
        client.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"pong");
        peer.ip()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Says whether a connection from a namespace is made at all.
pub(crate) async fn connects(from: &OwnedFd, to: SocketAddr) -> bool {
    let from = from.try_clone().unwrap();
    let work = move || netns::run_in(from.as_fd(), || TcpStream::connect_timeout(&to, REFUSAL));
    tokio::task::spawn_blocking(work).await.unwrap().is_ok()
}

/// Sends a datagram from a namespace and returns the answer of `server`.
pub(crate) async fn exchange(from: &OwnedFd, to: SocketAddr, server: &UdpSocket) -> io::Result<()> {
    let (from, server) = (from.try_clone().unwrap(), server.try_clone().unwrap());
    let work = move || {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = netns::run_in(from.as_fd(), || UdpSocket::bind(any))?;
        client.set_read_timeout(Some(PATIENCE))?;
        server.set_read_timeout(Some(PATIENCE))?;
        client.connect(to)?;
        client.send(b"ping")?;
        let mut bytes = [0; 4];
        let (_, peer) = server.recv_from(&mut bytes)?;
        server.send_to(b"pong", peer)?;
        client.recv(&mut bytes)?;
        assert_eq!(&bytes, b"pong");
        Ok(())
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// A machine beside the host, on 198.51.100.0/24 and fd99::/64; the host is .1 and it is .2.
pub(crate) fn neighbour() -> OwnedFd {
    let netns = netns::create().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd());
    run(
        "ip",
        &format!("link add lan0 type veth peer name eth0 netns {path}"),
    );
    run("ip", "addr add 198.51.100.1/24 dev lan0");
    run("ip", "addr add fd99::1/64 dev lan0 nodad");
    run("ip", "link set lan0 up");
    run_in(&netns, "ip", "addr add 198.51.100.2/24 dev eth0");
    run_in(&netns, "ip", "addr add fd99::2/64 dev eth0 nodad");
    run_in(&netns, "ip", "link set eth0 up");
    run_in(&netns, "ip", "route add 10.199.0.0/16 via 198.51.100.1");
    run_in(&netns, "ip", "route add fd6e:6f64:6561:1::/64 via fd99::1");
    netns
}

/// Waits until `done` says so.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    while !done() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what} did not happen"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Names of the host's links that belong to sandboxes.
pub(crate) fn sandbox_links() -> Vec<String> {
    let text = run("ip", "-o link show type veth");
    let name = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    let names = text.lines().filter_map(name);
    let trimmed = names.map(|n| {
        n.trim_end_matches(':')
            .split('@')
            .next()
            .unwrap_or("")
            .to_owned()
    });
    trimmed.filter(|name| name.starts_with("na")).collect()
}
