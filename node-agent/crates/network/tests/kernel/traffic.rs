//! Who reaches whom.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use agent_network::{Config, PortMapping, Protocol};
use agent_sys::netns;

use crate::harness::{
    connects, exchange, listen, neighbour, on_host, reach, sysctl_in, tcp, until,
};

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

#[test]
fn sandboxes_reach_each_other_the_host_and_out() {
    on_host(|host| async move {
        let outside = neighbour();
        let network = host.open();
        let a = host.pod(&network, "a", &[]).await;
        let b = host.pod(&network, "b", &[]).await;
        let in_b = listen(&b.netns, "[::]:80");
        for ip in [b.ip4(), b.ip6()] {
            let seen = reach(&a.netns, SocketAddr::new(ip, 80), &in_b).await;
            let expected = if ip.is_ipv4() { a.ip4() } else { a.ip6() };
            assert_eq!(
                seen.to_canonical(),
                expected,
                "no masquerade between sandboxes"
            );
            reach(&host.netns, SocketAddr::new(ip, 80), &in_b).await;
        }
        let on_host = listen(&host.netns, "[::]:81");
        for gateway in ["10.199.0.1", "fd6e:6f64:6561:1::1", "198.51.100.1"] {
            reach(&a.netns, at(gateway, 81), &on_host).await;
        }
        let far = listen(&outside, "[::]:82");
        let seen = reach(&a.netns, at("198.51.100.2", 82), &far).await;
        assert_eq!(
            seen.to_canonical().to_string(),
            "198.51.100.1",
            "masqueraded"
        );
        let seen = reach(&a.netns, at("fd99::2", 82), &far).await;
        assert_eq!(seen.to_string(), "fd99::1", "masqueraded");
    });
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    for bridge_filter in ["0", "1"] {
        on_host(|host| async move {
            // With and without br_netfilter, which sends bridged packets through the rules.
            let key = "net/bridge/bridge-nf-call-iptables";
            if std::path::Path::new("/proc/sys").join(key).exists() {
                sysctl_in(&host.netns, key, bridge_filter);
                sysctl_in(
                    &host.netns,
                    "net/bridge/bridge-nf-call-ip6tables",
                    bridge_filter,
                );
            }
            let outside = neighbour();
            let network = host.open();
            let server = host.pod(&network, "server", &[tcp(None, 8080, 80)]).await;
            let client = host.pod(&network, "client", &[]).await;
            let inside = listen(&server.netns, "[::]:80");
            let everywhere = [
                ("host, its address", &host.netns, "198.51.100.1"),
                ("host, its IPv6 address", &host.netns, "fd99::1"),
                ("host, gateway", &host.netns, "10.199.0.1"),
                ("host, loopback", &host.netns, "127.0.0.1"),
                ("host, all of 127/8", &host.netns, "127.1.2.3"),
                ("host, IPv6 loopback", &host.netns, "::1"),
                ("neighbour", &outside, "198.51.100.1"),
                ("neighbour, IPv6", &outside, "fd99::1"),
                ("sandbox", &client.netns, "198.51.100.1"),
                ("sandbox, IPv6", &client.netns, "fd99::1"),
                ("sandbox, gateway", &client.netns, "10.199.0.1"),
                ("hairpin", &server.netns, "198.51.100.1"),
                ("hairpin, IPv6", &server.netns, "fd99::1"),
                ("hairpin, gateway", &server.netns, "fd6e:6f64:6561:1::1"),
            ];
            for (who, from, to) in everywhere {
                eprintln!("{who} (bridge filter {bridge_filter})");
                reach(from, at(to, 8080), &inside).await;
            }
            let seen = reach(&outside, at("198.51.100.1", 8080), &inside).await;
            assert_eq!(
                seen.to_canonical().to_string(),
                "198.51.100.2",
                "the client is seen"
            );

            network.detach(&server.attachment).await.unwrap();
            for (who, from, to) in everywhere {
                assert!(!connects(from, at(to, 8080)).await, "{who} after detaching");
            }
        });
    }
}

#[test]
fn datagrams_are_published_too() {
    on_host(|host| async move {
        let outside = neighbour();
        let network = host.open();
        let port = PortMapping {
            protocol: Protocol::Udp,
            ..tcp(None, 5300, 53)
        };
        let server = host.pod(&network, "server", &[port]).await;
        let bind = || UdpSocket::bind("[::]:53");
        let inside = netns::run_in(server.netns.as_fd(), bind).unwrap();
        for (from, to) in [
            (&host.netns, "127.0.0.1"),
            (&host.netns, "::1"),
            (&host.netns, "198.51.100.1"),
            (&outside, "198.51.100.1"),
            (&outside, "fd99::1"),
        ] {
            exchange(from, at(to, 5300), &inside)
                .await
                .unwrap_or_else(|error| panic!("{to}: {error}"));
        }
    });
}

#[test]
fn a_port_on_one_address_is_on_no_other() {
    on_host(|host| async move {
        let outside = neighbour();
        let network = host.open();
        let ports = [
            tcp(Some("198.51.100.1"), 8081, 80),
            tcp(Some("::1"), 8082, 80),
        ];
        let server = host.pod(&network, "server", &ports).await;
        let inside = listen(&server.netns, "[::]:80");
        reach(&outside, at("198.51.100.1", 8081), &inside).await;
        reach(&host.netns, at("198.51.100.1", 8081), &inside).await;
        reach(&host.netns, at("::1", 8082), &inside).await;
        assert!(!connects(&host.netns, at("127.0.0.1", 8081)).await);
        assert!(!connects(&outside, at("fd99::1", 8082)).await);
        assert!(!connects(&host.netns, at("127.0.0.1", 8082)).await);
    });
}

/// The rules see only the first packet of a flow, and a client keeps its flow alive.
#[test]
fn a_client_that_goes_on_sending_reaches_the_next_sandbox() {
    on_host(|host| async move {
        let outside = neighbour();
        let network = host.open();
        let port = PortMapping {
            protocol: Protocol::Udp,
            ..tcp(None, 5300, 53)
        };
        for (local, to) in [("0.0.0.0:4000", "198.51.100.1"), ("[::]:4000", "fd99::1")] {
            let bind = || UdpSocket::bind(local);
            let client = netns::run_in(outside.as_fd(), bind).unwrap();
            client.connect(at(to, 5300)).unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            let mut bytes = [0; 16];
            // Nobody is there: a flow that leads to the host itself comes to be. It is there once
            // that is answered; the packet may have waited for the neighbour's address.
            network.prepare().await.unwrap();
            client.send(b"nobody").unwrap();
            let refused = client.recv(&mut bytes).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            for name in ["first", "second"] {
                let pod = host.pod(&network, name, &[port]).await;
                let bind = || UdpSocket::bind("[::]:53");
                let server = netns::run_in(pod.netns.as_fd(), bind).unwrap();
                server
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .unwrap();
                client.send(name.as_bytes()).unwrap();
                let (length, _) = server
                    .recv_from(&mut bytes)
                    .unwrap_or_else(|error| panic!("{name} by {to}: {error}"));
                assert_eq!(&bytes[..length], name.as_bytes());
                network.detach(&pod.attachment).await.unwrap();
                drop((pod, server));
                let freed = || network.status().addresses_in_use == 0;
                until("the sandbox is gone", freed).await;
            }
        }
    });
}

#[test]
fn a_network_of_one_family_works() {
    let both = Config::default();
    let only4 = Config {
        ipv6_subnet: None,
        ..both.clone()
    };
    let only6 = Config {
        ipv4_subnet: None,
        ..both
    };
    for (config, loopbacks) in [(only4, ["127.0.0.1", "::1"]), (only6, ["::1", "fd99::1"])] {
        on_host(|host| async move {
            let _outside = neighbour();
            let network = host.open_with(config);
            let server = host.pod(&network, "server", &[tcp(None, 8080, 80)]).await;
            let client = host.pod(&network, "client", &[]).await;
            assert_eq!(server.attachment.addresses().len(), 1);
            let inside = listen(&server.netns, "[::]:80");
            let direct = SocketAddr::new(server.attachment.addresses()[0], 80);
            reach(&client.netns, direct, &inside).await;
            for to in loopbacks {
                reach(&host.netns, at(to, 8080), &inside).await;
            }
        });
    }
}
