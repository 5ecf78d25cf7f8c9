//! Two agents on one host.

use std::sync::Arc;

use agent_network::{Config, HostChanges, Ledger, Network};

use crate::harness::{Memory, on_host, run, sandbox_links, sysctl};

/// Opens the network of another agent than the host's first.
fn second(ledger: &Arc<Memory>) -> Network {
    let config = Config {
        bridge: "nodeagent1".to_owned(),
        table: "node_agent_1".to_owned(),
        ipv4_subnet: "10.198.0.0/16".parse().ok(),
        ipv6_subnet: "fd6e:6f64:6561:2::/64".parse().ok(),
        ..Config::default()
    };
    let kept: Arc<dyn Ledger> = Arc::clone(ledger) as _;
    Network::open(config, HostChanges::default(), kept).unwrap()
}

/// Returns whether the host forwards, IPv4 and IPv6.
fn forwards() -> [String; 2] {
    ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"].map(sysctl)
}

#[test]
fn the_last_of_two_agents_puts_the_settings_back() {
    on_host(|host| async move {
        let (a, b) = (host.open(), Arc::new(Memory::default()));
        a.prepare().await.unwrap();
        let beside = second(&b);
        let pod = host.pod(&beside, "x", &[]).await;
        Network::teardown(&host.ledger.changes()).await.unwrap();
        assert_eq!(
            sysctl("net/ipv4/ip_forward"),
            "1",
            "the other still needs it"
        );
        assert_eq!(sandbox_links().len(), 1);
        drop((pod, beside));
        Network::teardown(&b.changes()).await.unwrap();
        assert_eq!(sysctl("net/ipv4/ip_forward"), "0");
        assert_eq!(sysctl("net/ipv6/conf/all/forwarding"), "0");
        assert_eq!(run("nft", "list ruleset"), "");
    });
}

#[test]
fn agents_that_come_and_go_at_once_put_the_settings_back() {
    on_host(|host| async move {
        for _ in 0..5 {
            let (a, b) = (host.open(), second(&Arc::new(Memory::default())));
            let (first, other) = tokio::join!(a.prepare(), b.prepare());
            first.and(other).unwrap();
            assert_eq!(forwards(), ["1", "1"]);
            let (first, other) = tokio::join!(a.leave(), b.leave());
            first.and(other).unwrap();
            assert_eq!(forwards(), ["0", "0"], "each has left it to the other");

            let (a, b) = (host.open(), second(&Arc::new(Memory::default())));
            a.prepare().await.unwrap();
            let (left, come) = tokio::join!(a.leave(), b.prepare());
            left.unwrap();
            come.unwrap();
            assert_eq!(forwards(), ["1", "1"], "taken from who has just come");
            b.leave().await.unwrap();
            assert_eq!(forwards(), ["0", "0"], "nobody knows what they were");
        }
    });
}
