//! An agent that starts anew.

use agent_network::{Attachment, Recovery};

use crate::harness::{connects, listen, on_host, reach, run, sandbox_links, spec, tcp, until};

/// What a record is after it went to disk and back.
fn record(attachment: &Attachment) -> Attachment {
    serde_json::from_str(&serde_json::to_string(attachment).unwrap()).unwrap()
}

#[test]
fn an_idle_host_stays_untouched() {
    on_host(|host| async move {
        let network = host.open();
        let recovery = network.recover(&[]).await.unwrap();
        assert_eq!(recovery, Recovery::default());
        assert!(!run("ip", "link").contains("nodeagent0"));
        assert_eq!(run("nft", "list ruleset"), "");
    });
}

#[test]
fn what_differs_from_the_records_is_corrected() {
    on_host(|host| async move {
        let network = host.open();
        let kept = host.pod(&network, "kept", &[tcp(None, 8080, 80)]).await;
        let unknown = host.pod(&network, "unknown", &[tcp(None, 8081, 80)]).await;
        let gone = host.pod(&network, "gone", &[tcp(None, 8082, 80)]).await;
        let records = [record(&kept.attachment), record(&gone.attachment)];
        drop(network);
        // While no agent runs: a sandbox dies, an element is lost.
        let gone_link = gone.bridge().interface.clone();
        drop(gone.netns);
        until("the link is gone", || !sandbox_links().contains(&gone_link)).await;
        run(
            "nft",
            "delete element inet node_agent any_ports4 { tcp . 8080 }",
        );
        let inside = listen(&kept.netns, "[::]:80");
        assert!(!connects(&host.netns, "127.0.0.1:8080".parse().unwrap()).await);

        let network = host.open();
        let recovery = network.recover(&records).await.unwrap();
        assert_eq!(recovery.added_elements, 1);
        assert_eq!(
            recovery.removed_elements, 2,
            "IPv4 and IPv6 of the unknown sandbox"
        );
        assert_eq!(recovery.removed_links, [unknown.bridge().interface.clone()]);
        assert_eq!(recovery.missing, ["gone".parse().unwrap()]);
        assert_eq!(recovery.displaced, []);
        for to in ["127.0.0.1:8080", "[::1]:8080"] {
            reach(&host.netns, to.parse().unwrap(), &inside).await;
        }
        assert_eq!(sandbox_links(), [kept.bridge().interface.clone()]);

        // Addresses and ports of the records are taken.
        let error = network
            .reserve(&spec("new", &[tcp(None, 8080, 80)]))
            .unwrap_err();
        assert!(error.to_string().contains("by sandbox kept"), "{error}");
        let new = network.reserve(&spec("new", &[])).unwrap();
        assert!(![kept.ip4(), gone_ip(&records[1])].contains(&new.addresses()[0]));

        // The link of this one is known to be gone: its address is free at once.
        network.detach(&records[1]).await.unwrap();
        assert_eq!(network.status().addresses_in_use, 2);
        let again = network.recover(&[]).await.unwrap();
        assert_eq!(again, Recovery::default(), "nothing differs any more");
    });
}

fn gone_ip(attachment: &Attachment) -> std::net::IpAddr {
    attachment.addresses()[0]
}

#[test]
fn published_ports_work_while_an_agent_starts_anew() {
    on_host(|host| async move {
        let network = host.open();
        let pod = host.pod(&network, "a", &[tcp(None, 8080, 80)]).await;
        let inside = listen(&pod.netns, "[::]:80");
        drop(network);
        reach(&host.netns, "127.0.0.1:8080".parse().unwrap(), &inside).await;
        let network = host.open();
        network.prepare().await.unwrap();
        reach(&host.netns, "127.0.0.1:8080".parse().unwrap(), &inside).await;
        let text = run("nft", "list ruleset");
        let once = text.matches("dnat ip to").count();
        assert_eq!(once, 2, "rules are there once: {text}");
    });
}

#[test]
fn a_flushed_ruleset_comes_back_with_its_ports() {
    on_host(|host| async move {
        let network = host.open();
        let pod = host.pod(&network, "a", &[tcp(None, 8080, 80)]).await;
        let inside = listen(&pod.netns, "[::]:80");
        let before = run("nft", "list ruleset");
        run("nft", "flush ruleset");
        until("the rules are back", || {
            run("nft", "list ruleset") == before
        })
        .await;
        reach(&host.netns, "127.0.0.1:8080".parse().unwrap(), &inside).await;
    });
}
