//! What an attacker in a sandbox or beside the host would try.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::harness::{
    connects, listen, neighbour, on_host, reach, run, run_in, sysctl, sysctl_in, tcp, until,
};

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// Makes a namespace send packets for 127.0.0.1 to `gateway`, as only an attacker would.
fn aim_loopback_at(netns: &OwnedFd, gateway: &str) {
    sysctl_in(netns, "net/ipv4/conf/eth0/route_localnet", "1");
    run_in(netns, "ip", "link set lo down");
    run_in(netns, "ip", "addr flush dev lo");
    run_in(
        netns,
        "ip",
        &format!("route add 127.0.0.1/32 via {gateway} dev eth0"),
    );
}

/// CVE-2020-8558: 127.0.0.1 of the host is nobody else's.
#[test]
fn cve_2020_8558_the_hosts_loopback_is_out_of_reach() {
    on_host(|host| async move {
        let outside = neighbour();
        let network = host.open();
        let published = tcp(Some("127.0.0.1"), 8080, 80);
        let server = host.pod(&network, "server", &[published]).await;
        let attacker = host.pod(&network, "attacker", &[]).await;
        let inside = listen(&server.netns, "[::]:80");
        let secret = listen(&host.netns, "127.0.0.1:9000");
        reach(&host.netns, at("127.0.0.1", 8080), &inside).await;

        // Under its other addresses the port is not there at all.
        for (from, to) in [
            (&outside, "198.51.100.1"),
            (&attacker.netns, "198.51.100.1"),
            (&attacker.netns, "10.199.0.1"),
            (&outside, "10.199.0.1"),
        ] {
            assert!(!connects(from, at(to, 8080)).await, "{to}");
        }
        aim_loopback_at(&outside, "198.51.100.1");
        aim_loopback_at(&attacker.netns, "10.199.0.1");
        for from in [&outside, &attacker.netns] {
            assert!(!connects(from, at("127.0.0.1", 8080)).await);
            assert!(!connects(from, at("127.0.0.1", 9000)).await);
        }
        // The same attempts succeed without the guard: it is what stops them.
        run("nft", "flush chain inet node_agent guard");
        reach(&attacker.netns, at("127.0.0.1", 9000), &secret).await;
        reach(&outside, at("127.0.0.1", 8080), &inside).await;
        // An agent that starts anew lays it down again.
        drop(network);
        let network = host.open();
        network.prepare().await.unwrap();
        assert!(!connects(&attacker.netns, at("127.0.0.1", 9000)).await);
    });
}

/// What is not published is not reached through the host as a router.
#[test]
fn a_neighbour_reaches_no_port_that_is_not_published() {
    on_host(|host| async move {
        let outside = neighbour();
        let network = host.open();
        let server = host.pod(&network, "server", &[tcp(None, 8080, 80)]).await;
        let inside = listen(&server.netns, "[::]:80");
        let other = listen(&server.netns, "[::]:81");
        for ip in [server.ip4(), server.ip6()] {
            assert!(!connects(&outside, SocketAddr::new(ip, 80)).await);
            assert!(!connects(&outside, SocketAddr::new(ip, 81)).await);
            reach(&host.netns, SocketAddr::new(ip, 81), &other).await;
        }
        reach(&outside, at("198.51.100.1", 8080), &inside).await;
    });
}

/// CVE-2020-13401: a sandbox is nobody's router.
#[test]
fn cve_2020_13401_a_router_advertisement_changes_nothing() {
    on_host(|host| async move {
        let network = host.open();
        let attacker = host.pod(&network, "attacker", &[]).await;
        let victim = host.pod(&network, "victim", &[]).await;
        assert_eq!(sysctl("net/ipv6/conf/nodeagent0/accept_ra"), "0");
        // Only what comes from a link-local address counts as a router.
        until("the attacker has a link-local address", || {
            let text = run_in(&attacker.netns, "ip", "-6 addr show dev eth0 scope link");
            text.contains("fe80") && !text.contains("tentative")
        })
        .await;
        let before = (
            run("ip", "-6 route"),
            run_in(&victim.netns, "ip", "-6 route"),
        );
        assert!(!before.1.contains("proto ra"));
        advertise(&attacker.netns);
        // What is sent later arrives later, so the advertisement has been dealt with.
        let inside = listen(&victim.netns, "[::]:80");
        reach(&attacker.netns, SocketAddr::new(victim.ip6(), 80), &inside).await;
        let after = (
            run("ip", "-6 route"),
            run_in(&victim.netns, "ip", "-6 route"),
        );
        assert_eq!(before, after);

        // The same advertisement works without the rule: it is what stops it.
        run("nft", "flush table bridge node_agent");
        advertise(&attacker.netns);
        until("the victim has a new router", || {
            run_in(&victim.netns, "ip", "-6 route").contains("proto ra")
        })
        .await;
        assert_eq!(
            before.0,
            run("ip", "-6 route"),
            "the bridge itself does not listen"
        );
    });
}

/// Sends a router advertisement with a default route from a namespace.
fn advertise(netns: &OwnedFd) {
    use std::os::fd::AsFd;
    agent_sys::netns::run_in(netns.as_fd(), || {
        use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sockopt};
        let raw =
            rustix::net::socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6))?;
        sockopt::set_ipv6_multicast_hops(&raw, 255)?;
        // Type 134, lifetime 1800 s, no options.
        let message = [134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
        let to = std::net::SocketAddrV6::new("ff02::1".parse().unwrap(), 0, 0, 2);
        rustix::net::sendto(&raw, &message, SendFlags::empty(), &to)?;
        Ok(())
    })
    .unwrap();
}
