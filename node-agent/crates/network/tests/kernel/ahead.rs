//! Links that are made ahead, and given to a sandbox.

use std::net::SocketAddr;

use agent_network::{AttachSpec, Attachment, PortHolder, ReserveError};

use crate::harness::{Host, Pod, listen, on_host, reach, run, sandbox_links, spec, tcp, until};

async fn pair(host: &Host) -> (agent_network::Network, Pod) {
    let network = host.open();
    let made = host.pod(&network, "made", &[]).await;
    (network, made)
}

fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

#[test]
fn a_link_is_given_with_its_addresses_and_gets_the_ports() {
    on_host(|host| async move {
        let (network, made) = pair(&host).await;
        let port = free_port();
        let wanted = spec("a", &[tcp(None, port, 80)]);
        let given = network.hand_over(&made.attachment, &wanted).unwrap();
        let given = given.unwrap();
        assert_eq!(given.sandbox().as_str(), "a");
        assert_eq!(given.addresses(), made.attachment.addresses());
        network.publish(&given).await.unwrap();
        let inside = listen(&made.netns, "[::]:80");
        for ip in ["127.0.0.1", "::1", "10.199.0.1"] {
            let to = SocketAddr::new(ip.parse().unwrap(), port);
            reach(&host.netns, to, &inside).await;
        }
        // What was made is not given twice.
        assert_eq!(
            network
                .hand_over(&made.attachment, &spec("b", &[]))
                .unwrap(),
            None
        );
        let other = host.pod(&network, "next", &[]).await;
        assert_ne!(other.attachment.addresses(), given.addresses());
        assert_eq!(sandbox_links().len(), 2);
        // The records of a restart know it by the sandbox's name.
        let recovery = network.recover(std::slice::from_ref(&given)).await.unwrap();
        assert!(recovery.missing.is_empty() && recovery.removed_links.is_empty());

        drop(inside);
        drop(made);
        network.detach(&given).await.unwrap();
        until("the link is gone", || sandbox_links().len() == 1).await;
        until("the address is free", || {
            network.status().addresses_in_use == 1
        })
        .await;
        // The port is free as well.
        network.reserve(&wanted).unwrap();
    });
}

#[test]
fn what_cannot_be_given_stays_where_it_is() {
    on_host(|host| async move {
        let (network, made) = pair(&host).await;
        let port = free_port();
        let holder = AttachSpec {
            ports: vec![tcp(None, port, 80)],
            ..spec("holder", &[])
        };
        let held = network.reserve(&holder).unwrap();
        let refused = network.hand_over(&made.attachment, &spec("a", &holder.ports));
        assert!(
            matches!(&refused, Err(ReserveError::PortInUse { holder: PortHolder::Sandbox(id), .. }) if id.as_str() == "holder"),
            "{refused:?}"
        );
        // Who has a network already takes no second one.
        let again = network.hand_over(&made.attachment, &spec("holder", &[]));
        assert_eq!(again.unwrap(), None);
        let nobody = Attachment::None {
            sandbox: "nobody".parse().unwrap(),
        };
        assert_eq!(network.hand_over(&nobody, &spec("a", &[])).unwrap(), None);
        let Attachment::Bridge(bridge) = &made.attachment else {
            panic!("{:?}", made.attachment)
        };
        run("ip", &format!("link delete {}", bridge.interface));
        until("its end is seen", || {
            let given = network.hand_over(&made.attachment, &spec("a", &[]));
            given.is_ok_and(|given| given.is_none())
        })
        .await;
        network.detach(&made.attachment).await.unwrap();
        network.detach(&held).await.unwrap();
        assert_eq!(network.status().addresses_in_use, 0);
    });
}

#[test]
fn a_bridge_that_was_taken_away_is_there_again_when_ports_are_published() {
    on_host(|host| async move {
        let (network, made) = pair(&host).await;
        let port = free_port();
        run("ip", "link delete nodeagent0");
        let wanted = spec("a", &[tcp(None, port, 80)]);
        let given = network.hand_over(&made.attachment, &wanted).unwrap();
        until("the bridge is there again", || {
            !run("ip", "-o link show type bridge").is_empty()
        })
        .await;
        network.publish(&given.unwrap()).await.unwrap();
        let inside = listen(&made.netns, "[::]:80");
        let to = SocketAddr::new([127, 0, 0, 1].into(), port);
        reach(&host.netns, to, &inside).await;
    });
}
