//! Attaching, detaching, and what is left behind.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Instant;

use agent_network::{
    AttachSpec, Attachment, Config, HostChanges, LedgerError, ModeSpec, Network, PrepareError,
    Recovery,
};
use agent_sys::netns;
use agent_types::{Classify, ErrorKind};

use crate::harness::{
    attach, listen, on_host, reach, run, run_in, sandbox_links, spec, sysctl, sysctl_in, tcp, until,
};

#[test]
fn the_inside_is_complete_when_attach_returns() {
    on_host(|host| async move {
        let network = host.open();
        let pod = host.pod(&network, "a", &[]).await;
        let addresses = run_in(&pod.netns, "ip", "-o addr");
        for expected in [
            "127.0.0.1/8",
            "10.199.0.2/16 brd 10.199.255.255",
            "fd6e:6f64:6561:1::2/64 scope global nodad",
            "fe80::6c61:aff:fec7:2/64 scope link nodad",
        ] {
            assert!(addresses.contains(expected), "{expected}: {addresses}");
        }
        let link = run_in(&pod.netns, "ip", "link show eth0");
        assert!(
            link.contains("6e:61:0a:c7:00:02") && link.contains("state UP"),
            "{link}"
        );
        let port = run(
            "ip",
            &format!("-o addr show dev {}", pod.bridge().interface),
        );
        assert_eq!(port, "", "the bridge's port has no address");
        let routes = run_in(&pod.netns, "ip", "route");
        assert!(
            routes.contains("default via 10.199.0.1 dev eth0"),
            "{routes}"
        );
        let routes = run_in(&pod.netns, "ip", "-6 route");
        assert!(
            routes.contains("default via fd6e:6f64:6561:1::1 dev eth0"),
            "{routes}"
        );
        let counters = agent_network::Counters::open(pod.netns.as_fd()).unwrap();
        let (before, counters) = counters.read().unwrap();
        let names: Vec<_> = before.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["eth0"]);
        run_in(&pod.netns, "ping", "-c 3 -i 0.01 -W 5 10.199.0.1");
        let (after, counters) = counters.unwrap().read().unwrap();
        assert!(after[0].tx_packets >= before[0].tx_packets + 3, "{after:?}");
        assert!(
            after[0].rx_bytes >= before[0].rx_bytes + 3 * 84,
            "{after:?}"
        );
        // Whoever may make interfaces does not decide how much is read.
        for _ in 0..=agent_network::MOST_INTERFACES {
            run_in(&pod.netns, "ip", "link add type bridge");
        }
        let (many, counters) = counters.unwrap().read().unwrap();
        assert_eq!(many.len(), agent_network::MOST_INTERFACES);
        assert_eq!((many[0].name.as_str(), counters.is_none()), ("eth0", true));
    });
}

#[test]
fn a_sandbox_tells_no_other_that_it_is_new() {
    on_host(|host| async move {
        let network = host.open();
        host.pod(&network, "old", &[]).await;
        run("nft", "add table bridge passed");
        let hook = "{ type filter hook forward priority 0; }";
        run("nft", &format!("add chain bridge passed on {hook}"));
        run("nft", "add rule bridge passed on counter");
        let new = host.pod(&network, "new", &[]).await;
        // The kernel reports groups some milliseconds after the link is up.
        until("the new sandbox has spoken", || {
            let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
            let interface = &new.bridge().interface;
            let line = text.lines().find(|line| line.contains(interface));
            let received = line.and_then(|line| line.split_whitespace().nth(2));
            received.is_some_and(|packets| packets != "0")
        })
        .await;
        let counted = run("nft", "list table bridge passed");
        assert!(counted.contains("packets 0 "), "{counted}");
    });
}

#[test]
fn nothing_is_left_of_a_sandbox_or_of_the_network() {
    on_host(|host| async move {
        let before = (
            sysctl("net/ipv4/ip_forward"),
            sysctl("net/ipv6/conf/all/forwarding"),
        );
        let network = host.open();
        let pod = host.pod(&network, "a", &[tcp(None, 8080, 80)]).await;
        assert_eq!(sysctl("net/ipv4/ip_forward"), "1");
        network.detach(&pod.attachment).await.unwrap();
        network.detach(&pod.attachment).await.unwrap();
        assert!(!run("nft", "list ruleset").contains("8080"));
        assert_eq!(
            network.status().addresses_in_use,
            1,
            "the link is still there"
        );
        drop(pod.netns);
        until("the address is free", || {
            network.status().addresses_in_use == 0
        })
        .await;
        assert_eq!(sandbox_links(), [""; 0]);

        drop(network);
        Network::teardown(&host.ledger.changes()).await.unwrap();
        Network::teardown(&host.ledger.changes()).await.unwrap();
        let after = (
            sysctl("net/ipv4/ip_forward"),
            sysctl("net/ipv6/conf/all/forwarding"),
        );
        assert_eq!(before, after);
        assert_eq!(run("nft", "list ruleset"), "");
        assert!(!run("ip", "link").contains("nodeagent0"));
    });
}

#[test]
fn a_running_network_that_leaves_puts_nothing_back() {
    on_host(|host| async move {
        for _ in 0..10 {
            let network = host.open();
            // Its link may go unheard of until after the bridge's.
            let pod = host.pod(&network, "a", &[tcp(None, 8080, 80)]).await;
            network.detach(&pod.attachment).await.unwrap();
            network.leave().await.unwrap();
            drop(pod);
            assert_eq!(run("nft", "list ruleset"), "");
            assert!(!run("ip", "link").contains("nodeagent0"));
            assert_eq!(sysctl("net/ipv4/ip_forward"), "0");
            network.leave().await.unwrap();
        }
    });
}

#[test]
fn a_reservation_alone_is_given_back() {
    on_host(|host| async move {
        let network = host.open();
        let attachment = network.reserve(&spec("a", &[tcp(None, 8080, 80)])).unwrap();
        assert_eq!(network.status().addresses_in_use, 1);
        assert!(
            !network.status().ready,
            "nothing is made before it is needed"
        );
        network.detach(&attachment).await.unwrap();
        assert_eq!(network.status().addresses_in_use, 0);
        network.reserve(&spec("b", &[tcp(None, 8080, 80)])).unwrap();
    });
}

#[test]
fn a_sandbox_comes_back_before_its_link_is_gone() {
    on_host(|host| async move {
        let network = host.open();
        let first = host.pod(&network, "a", &[]).await;
        let of = first.attachment.sandbox().clone();
        for _ in 0..3 {
            // The namespace is kept alive by `first`, and the link with it.
            network.detach(&first.attachment).await.unwrap();
            let again = host.pod(&network, "a", &[]).await;
            assert_eq!(again.attachment.sandbox(), &of);
            let inside = listen(&again.netns, "[::]:80");
            reach(&host.netns, SocketAddr::new(again.ip4(), 80), &inside).await;
            network.detach(&again.attachment).await.unwrap();
            drop(again);
        }
        drop(first);
        let freed = || network.status().addresses_in_use == 0;
        until("the address is free", freed).await;
    });
}

#[test]
fn a_failed_attachment_leaves_nothing() {
    on_host(|host| async move {
        let network = host.open();
        let attachment = network.reserve(&spec("a", &[tcp(None, 8080, 80)])).unwrap();
        let inside = netns::create().unwrap();
        // The name of the inner end is taken.
        run_in(&inside, "ip", "link add eth0 type bridge");
        let guest = agent_network::Guest {
            netns: std::os::fd::AsFd::as_fd(&inside),
            netlink: netns::route_socket_in(std::os::fd::AsFd::as_fd(&inside)).unwrap(),
        };
        let error = network.attach(&attachment, Some(guest)).await.unwrap_err();
        assert!(
            error.to_string().contains("of sandbox a cannot be made"),
            "{error}"
        );
        assert_eq!(sandbox_links(), [""; 0]);
        run_in(&inside, "ip", "link del eth0");
        attach(&network, &attachment, &inside).await;
        attach(&network, &attachment, &inside).await;
        assert_eq!(sandbox_links().len(), 1, "attaching twice makes one link");
    });
}

#[test]
fn a_link_that_is_kept_alive_is_deleted() {
    on_host(|host| async move {
        let network = host.open();
        let pod = host.pod(&network, "a", &[]).await;
        network.detach(&pod.attachment).await.unwrap();
        // `pod.netns` stays open.
        until("the link is deleted", || {
            network.status().addresses_in_use == 0
        })
        .await;
        assert_eq!(sandbox_links(), [""; 0]);
    });
}

#[test]
fn a_removed_bridge_is_made_anew() {
    on_host(|host| async move {
        let network = host.open();
        let first = host.pod(&network, "a", &[]).await;
        run("ip", "link del nodeagent0");
        let second = host.pod(&network, "b", &[]).await;
        for pod in [&first, &second] {
            let inside = listen(&pod.netns, "0.0.0.0:80");
            reach(&host.netns, (pod.ip4(), 80).into(), &inside).await;
        }
        // Also when nobody attaches anything.
        run("ip", "link del nodeagent0");
        until("the bridge is back", || {
            run("ip", "link").contains("master nodeagent0")
        })
        .await;
        network.detach(&first.attachment).await.unwrap();
    });
}

#[test]
fn the_other_modes_make_what_they_say() {
    on_host(|host| async move {
        let network = host.open();
        let request = |mode| AttachSpec {
            mode,
            ..spec("a", &[])
        };
        let none = network.reserve(&request(ModeSpec::None)).unwrap();
        let inside = netns::create().unwrap();
        attach(&network, &none, &inside).await;
        let links = run_in(&inside, "ip", "-o -4 addr");
        assert!(
            links.contains("127.0.0.1/8") && links.lines().count() == 1,
            "{links}"
        );
        let shared = network.reserve(&request(ModeSpec::Host)).unwrap();
        network.attach(&shared, None).await.unwrap();
        let joined = ModeSpec::Container {
            of: "b".parse().unwrap(),
        };
        let joined = network.reserve(&request(joined)).unwrap();
        network.attach(&joined, None).await.unwrap();
        for attachment in [none, shared, joined] {
            network.detach(&attachment).await.unwrap();
        }
        assert!(!network.status().ready);
        assert!(!run("ip", "link").contains("nodeagent0"));
        let with_ports = AttachSpec {
            mode: ModeSpec::Host,
            ..spec("a", &[tcp(None, 80, 80)])
        };
        let error = network.reserve(&with_ports).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    });
}

#[test]
fn a_subnet_in_use_is_refused_by_name() {
    on_host(|host| async move {
        run("ip", "link add eth7 type bridge");
        run("ip", "addr add 10.199.4.1/24 dev eth7");
        run("ip", "link set eth7 up");
        let error = host.open().prepare().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "subnet 10.199.0.0/16 is in use on this host by address 10.199.4.1/24 of interface eth7"
        );
        run("ip", "addr flush dev eth7");
        run("ip", "route add 10.0.0.0/8 dev eth7");
        let error = host.open().prepare().await.unwrap_err();
        assert!(matches!(error, PrepareError::Overlap { .. }), "{error}");
        run("ip", "route flush dev eth7");
        run("ip", "link add nodeagent0 type bridge");
        let error = host.open().prepare().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "interface nodeagent0 exists and does not belong to this agent"
        );
        assert_eq!(host.ledger.changes(), HostChanges::default());
    });
}

#[test]
fn nothing_is_changed_that_the_ledger_does_not_take() {
    struct Full;
    impl agent_network::Ledger for Full {
        fn record(&self, _: &HostChanges) -> Result<(), LedgerError> {
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into())
        }
    }
    on_host(|_| async {
        let network =
            Network::open(Config::default(), HostChanges::default(), Arc::new(Full)).unwrap();
        let error = network.prepare().await.unwrap_err();
        assert!(matches!(error, PrepareError::Ledger { .. }), "{error}");
        assert_eq!(run("nft", "list ruleset"), "");
        assert!(!run("ip", "link").contains("nodeagent0"));
        assert_eq!(sysctl("net/ipv4/ip_forward"), "0");
    });
}

#[test]
fn an_agent_leaves_the_bridge_of_another_alone() {
    on_host(|host| async move {
        let network = host.open();
        let pod = host.pod(&network, "a", &[tcp(None, 8080, 80)]).await;
        let inside = listen(&pod.netns, "[::]:80");
        let open = |config| {
            let ledger = Arc::new(crate::harness::Memory::default());
            Network::open(config, HostChanges::default(), ledger).unwrap()
        };
        // The same settings by mistake, under another root directory.
        let beside = open(Config::default());
        assert_eq!(beside.recover(&[]).await.unwrap(), Recovery::default());
        let error = beside.prepare().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        let error = open(Config {
            bridge: "nodeagent1".to_owned(),
            ipv4_subnet: "10.198.0.0/16".parse().ok(),
            ipv6_subnet: None,
            ..Config::default()
        })
        .prepare()
        .await
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "packet filter tables node_agent belong to the agent of bridge nodeagent0"
        );
        reach(&host.netns, "127.0.0.1:8080".parse().unwrap(), &inside).await;
    });
}

#[test]
fn the_hosts_own_router_is_listened_to_on() {
    on_host(|host| async move {
        run("ip", "link add eth7 type bridge");
        assert_eq!(sysctl("net/ipv6/conf/eth7/accept_ra"), "1");
        let network = host.open();
        network.prepare().await.unwrap();
        assert_eq!(sysctl("net/ipv6/conf/eth7/accept_ra"), "2");
        Network::teardown(&host.ledger.changes()).await.unwrap();
        assert_eq!(sysctl("net/ipv6/conf/eth7/accept_ra"), "1");
    });
}

#[test]
fn three_hundred_sandboxes_come_and_go() {
    on_host(|host| async move {
        let host = Arc::new(host);
        let network = host.open();
        network.prepare().await.unwrap();
        let mut spaces = Vec::new();
        for _ in 0..300 {
            spaces.push(netns::create().unwrap());
        }
        let begin = Instant::now();
        let mut pods = tokio::task::JoinSet::new();
        for (number, inside) in spaces.into_iter().enumerate() {
            let network = network.clone();
            pods.spawn(async move {
                let port = tcp(None, u16::try_from(10_000 + number).unwrap(), 80);
                let attachment = network
                    .reserve(&spec(&format!("pod-{number}"), &[port]))
                    .unwrap();
                attach(&network, &attachment, &inside).await;
                (attachment, inside)
            });
        }
        let pods: Vec<(Attachment, _)> = pods.join_all().await;
        println!(
            "300 sandboxes with a port attached in {:?}",
            begin.elapsed()
        );
        assert_eq!(sandbox_links().len(), 300);
        let begin = Instant::now();
        for (attachment, _) in &pods {
            network.detach(attachment).await.unwrap();
        }
        println!("and detached in {:?}", begin.elapsed());
        drop(pods);
        until("all addresses are free", || {
            network.status().addresses_in_use == 0
        })
        .await;
        println!("and gone after {:?}", begin.elapsed());
        assert_eq!(sandbox_links(), [""; 0]);
        assert!(!run("nft", "list ruleset").contains("elements"));
    });
}

#[test]
fn rules_of_others_that_drop_everything_are_told_of() {
    on_host(|host| async move {
        run("nft", "add table ip filter");
        let chain = "{ type filter hook forward priority 0; policy drop; }";
        run("nft", &format!("add chain ip filter FORWARD {chain}"));
        let network = host.open();
        network.prepare().await.unwrap();
        let warnings = network.status().warnings;
        assert!(
            warnings[0].contains("chain filter/FORWARD drops"),
            "{warnings:?}"
        );
        Network::teardown(&host.ledger.changes()).await.unwrap();
        assert!(
            run("nft", "list ruleset").contains("FORWARD"),
            "it is not ours"
        );
    });
}

#[test]
fn a_sandbox_that_switched_ipv6_off_is_attached() {
    on_host(|host| async move {
        let network = host.open();
        let attachment = network.reserve(&spec("a", &[])).unwrap();
        let inside = netns::create().unwrap();
        for scope in ["all", "default"] {
            sysctl_in(&inside, &format!("net/ipv6/conf/{scope}/disable_ipv6"), "1");
        }
        attach(&network, &attachment, &inside).await;
        let addresses = run_in(&inside, "ip", "-o addr show dev eth0");
        assert!(
            addresses.contains("10.199.0.2/16") && !addresses.contains("inet6"),
            "{addresses}"
        );
    });
}
