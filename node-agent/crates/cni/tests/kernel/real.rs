//! Debian's plugins: bridge, host-local, portmap, bandwidth.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use agent_cni::{Attachment, Bandwidth, Capabilities, PortMapping};
use agent_sys::netns;

use crate::harness::{on_host, run, run_in};

const DUAL: &str = r#"{
  "cniVersion": "1.0.0", "name": "dual",
  "plugins": [
    {"type": "bridge", "bridge": "cnitest0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
     "ipam": {"type": "host-local", "dataDir": "$DIR/ipam",
              "ranges": [[{"subnet": "10.88.7.0/24"}], [{"subnet": "fd88:7::/64"}]],
              "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
  ]}"#;

/// Debian's version of it dies of a CHECK without limits, so it is only where there are some.
const BANDWIDTH: &str =
    r#""snat": true}, {"type": "bandwidth", "capabilities": {"bandwidth": true}}"#;

/// Accepts one connection in a namespace and greets.
fn greet(netns: &OwnedFd, address: SocketAddr) -> std::thread::JoinHandle<()> {
    let listener = netns::run_in(netns.as_fd(), || TcpListener::bind(address)).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"hello").unwrap();
    })
}

fn hear(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn hear_in(netns: &OwnedFd, address: SocketAddr) -> String {
    netns::run_in(netns.as_fd(), || hear(address)).unwrap()
}

fn address(attachment: &Attachment, v4: bool) -> IpAddr {
    let all = attachment.addresses();
    assert_eq!(all.len(), 2, "{all:?}");
    all.into_iter().find(|ip| ip.is_ipv4() == v4).unwrap()
}

fn reserved(host: &crate::harness::Host) -> usize {
    let Ok(entries) = fs::read_dir(host.path("ipam/dual")) else {
        return 0;
    };
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("10.") || name.starts_with("fd"))
        .count()
}

#[test]
fn two_sandboxes_reach_each_other_over_both_families() {
    on_host(async |host| {
        host.configure(DUAL);
        let cni = host.open();
        assert_eq!(cni.status().await.unwrap().name, "dual");
        let (a, first) = host.pod(&cni, "a1").await;
        let (b, second) = host.pod(&cni, "b1").await;
        // An IPv6 address answers a second after it was given, once nobody else has it.
        for v4 in [true, false] {
            let target = SocketAddr::new(address(&second, v4), 7000);
            let server = greet(&b, SocketAddr::new(target.ip(), 7000));
            assert_eq!(hear_in(&a, target), "hello");
            server.join().unwrap();
        }
        cni.check(&first).await.unwrap();
        assert_eq!(reserved(&host), 4);
        for attachment in [&first, &second] {
            cni.detach(attachment).await.unwrap();
            cni.detach(attachment).await.unwrap();
        }
        assert_eq!(reserved(&host), 0);
        host.assert_no_pins();
        assert!(!run_in(&a, "ip", "-o link").contains("eth0"));
        assert!(!run("ip", "-o link").contains("veth"));
    });
}

#[test]
fn a_host_port_leads_to_the_sandbox_until_it_is_released() {
    on_host(async |host| {
        host.configure(&DUAL.replace(r#""snat": true}"#, BANDWIDTH));
        let cni = host.open();
        let ports = ["tcp", "udp", "sctp"].map(|protocol| PortMapping {
            host_port: 18080,
            container_port: 80,
            protocol: protocol.to_owned(),
            host_ip: None,
        });
        let capabilities = Capabilities {
            port_mappings: ports.to_vec(),
            bandwidth: Some(Bandwidth {
                ingress_rate: 10_000_000,
                ingress_burst: 10_000_000,
                egress_rate: 10_000_000,
                egress_burst: 10_000_000,
            }),
            ..Capabilities::default()
        };
        let (netns, attachment) = host.pod_with(&cni, "a1", capabilities).await;
        let inside = SocketAddr::new(address(&attachment, true), 80);
        let server = greet(&netns, inside);
        // By the host's own address on the bridge.
        assert_eq!(hear("10.88.7.1:18080".parse().unwrap()).unwrap(), "hello");
        server.join().unwrap();
        let rules = run("iptables-save", "-t nat");
        for protocol in ["tcp", "udp", "sctp"] {
            assert!(rules.contains(&format!("-p {protocol}")), "{rules}");
        }
        assert!(run("tc", "qdisc show").contains("tbf"), "traffic is shaped");

        cni.detach(&attachment).await.unwrap();
        let rules = run("iptables-save", "-t nat");
        assert!(!rules.contains("18080"), "{rules}");
        assert!(!run("tc", "qdisc show").contains("tbf"));
    });
}

#[test]
fn a_record_alone_releases_a_sandbox_after_a_restart_and_after_a_boot() {
    on_host(async |host| {
        host.configure(DUAL);
        let cni = host.open();
        let (first_netns, first) = host.pod(&cni, "a1").await;
        let (second_netns, second) = host.pod(&cni, "b1").await;
        let records = [&first, &second].map(|one| serde_json::to_string(one).unwrap());
        drop((cni, first, second));

        // The cluster's network was taken away meanwhile.
        fs::remove_file(host.path("net.d/10-test.conflist")).unwrap();
        let cni = host.open();
        let [first, second] =
            records.map(|record| serde_json::from_str::<Attachment>(&record).unwrap());
        cni.detach(&first).await.unwrap();
        assert_eq!(reserved(&host), 2);
        assert!(!run_in(&first_netns, "ip", "-o link").contains("eth0"));

        // A boot: no namespace, and a file where it was pinned.
        netns::unpin(&second.netns).unwrap();
        drop(second_netns);
        fs::write(&second.netns, "").unwrap();
        cni.detach(&second).await.unwrap();
        assert_eq!(reserved(&host), 0);
        host.assert_no_pins();
    });
}

#[test]
fn check_finds_what_is_missing() {
    on_host(async |host| {
        host.configure(DUAL);
        let cni = host.open();
        let (netns, attachment) = host.pod(&cni, "a1").await;
        cni.check(&attachment).await.unwrap();
        run_in(&netns, "ip", "address flush dev eth0");
        let error = cni.check(&attachment).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "sandbox a1 is no longer joined to network dual as it was"
        );
        cni.detach(&attachment).await.unwrap();
    });
}

#[test]
fn what_a_chain_made_before_it_failed_is_released() {
    on_host(async |host| {
        host.configure(&DUAL.replace("\"portmap\"", "\"absent\""));
        let cni = host.open();
        let error = cni.status().await.unwrap_err();
        assert_eq!(error.to_string(), "network dual is not ready");

        let spec = crate::harness::spec("a1", Capabilities::default());
        let mut attachment = cni.plan(spec).await.unwrap();
        let netns = netns::create().unwrap();
        cni.attach(&mut attachment, netns.as_fd())
            .await
            .unwrap_err();
        assert_eq!(reserved(&host), 2, "the bridge plugin had done its part");
        host.script("absent");
        cni.detach(&attachment).await.unwrap();
        assert_eq!(reserved(&host), 0);
        host.assert_no_pins();
    });
}

#[test]
fn addresses_come_from_the_ranges_that_the_node_was_given() {
    const RANGES: &str = r#"{"cniVersion": "0.4.0", "name": "dual", "plugins": [
        {"type": "bridge", "bridge": "cnitest0", "capabilities": {"ipRanges": true},
         "ipam": {"type": "host-local", "dataDir": "$DIR/ipam"}}]}"#;
    on_host(async |host| {
        host.configure(RANGES);
        let cni = host.open();
        let capabilities = Capabilities {
            ip_ranges: vec![
                "10.77.3.0/24".parse().unwrap(),
                "fd77:3::/64".parse().unwrap(),
            ],
            ..Capabilities::default()
        };
        let (_netns, attachment) = host.pod_with(&cni, "a1", capabilities).await;
        let texts: Vec<String> = attachment
            .addresses()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(texts, ["10.77.3.2", "fd77:3::2"]);
        cni.detach(&attachment).await.unwrap();
    });
}
