//! Sandboxes: their life, retries, refusals.

use std::collections::HashMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use harness::node::Node;
use proto::cri::{
    DnsConfig, ListPodSandboxRequest, NamespaceMode, PodSandboxConfig, PodSandboxFilter,
    PodSandboxState, PodSandboxStateValue, PodSandboxStatusRequest,
};
use tonic::Code;

async fn listed(node: &Node, filter: PodSandboxFilter) -> Result<Vec<String>> {
    let list = node
        .cri
        .runtime
        .clone()
        .list_pod_sandbox(ListPodSandboxRequest {
            filter: Some(filter),
        })
        .await?;
    let mut names: Vec<_> = list
        .into_inner()
        .items
        .into_iter()
        .map(|one| one.metadata.unwrap_or_default().name)
        .collect();
    names.sort();
    Ok(names)
}

#[tokio::test]
async fn a_sandbox_is_ready_then_not_ready_then_gone() -> Result<()> {
    let node = Node::start().await?;
    let mut config = node.sandbox_config("one");
    config.labels.insert("app".to_owned(), "web".to_owned());
    config
        .annotations
        .insert("note".to_owned(), "kept as it is".to_owned());
    let sandbox = node.sandbox_of(config.clone()).await?;
    let status = node.cri.sandbox_status(&sandbox.id).await?;
    assert_eq!(
        (status.id.as_str(), status.state()),
        (sandbox.id.as_str(), PodSandboxState::SandboxReady)
    );
    assert_eq!(
        (&status.metadata, &status.labels, &status.annotations),
        (&config.metadata, &config.labels, &config.annotations)
    );
    assert!(
        status.created_at > 1_700_000_000_000_000_000,
        "{} are no nanoseconds since the epoch",
        status.created_at
    );
    let network = status.network.unwrap_or_default();
    assert!(
        network.ip.starts_with(&node.agent.slot().names().prefix),
        "{network:?}"
    );
    assert!(
        network.additional_ips.iter().any(|ip| ip.ip.contains(':')),
        "{network:?}"
    );
    let namespaces = status
        .linux
        .and_then(|linux| linux.namespaces)
        .and_then(|namespaces| namespaces.options);
    assert_eq!(
        namespaces.map(|one| (one.network(), one.pid())),
        Some((NamespaceMode::Pod, NamespaceMode::Container))
    );
    node.cri.stop_sandbox(&sandbox.id).await?;
    assert_eq!(
        node.cri.sandbox_status(&sandbox.id).await?.state(),
        PodSandboxState::SandboxNotready
    );
    node.cri.remove_sandbox(&sandbox.id).await?;
    let gone = node
        .cri
        .sandbox_status(&sandbox.id)
        .await
        .err()
        .map(|status| status.code());
    assert_eq!(gone, Some(Code::NotFound));
    node.finish().await
}

#[tokio::test]
async fn stop_and_remove_may_be_repeated_and_take_unknown_ids() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("one").await?;
    for _ in 0..2 {
        node.cri.stop_sandbox(&sandbox.id).await?;
    }
    for _ in 0..2 {
        node.cri.remove_sandbox(&sandbox.id).await?;
    }
    node.cri.stop_sandbox(&sandbox.id).await?;
    let never = "0123456789abcdef".repeat(4);
    node.cri.stop_sandbox(&never).await?;
    node.cri.remove_sandbox(&never).await?;
    node.finish().await
}

#[tokio::test]
async fn a_running_sandbox_may_be_removed_at_once() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("one").await?;
    node.run(&sandbox, "main", &["/bin/sleep", "1000"]).await?;
    node.cri.remove_sandbox(&sandbox.id).await?;
    assert_eq!(listed(&node, PodSandboxFilter::default()).await?, [""; 0]);
    node.finish().await
}

#[tokio::test]
async fn a_retried_run_attaches_or_returns_the_same_id() -> Result<()> {
    let node = Node::start().await?;
    let config = node.sandbox_config("one");
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (cri, config) = (node.cri.clone(), config.clone());
            tokio::spawn(async move { cri.run_sandbox(&config).await })
        })
        .collect();
    let mut ids = Vec::new();
    for call in calls {
        ids.push(call.await??);
    }
    ids.push(node.cri.run_sandbox(&config).await?);
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(listed(&node, PodSandboxFilter::default()).await?, ["one"]);
    node.finish().await
}

#[tokio::test]
async fn another_request_under_a_taken_name_is_told_who_holds_it() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("one").await?;
    let mut other = sandbox.config.clone();
    other.hostname = "other".to_owned();
    let refused = node.cri.run_sandbox(&other).await.err();
    let refused = refused.map(|status| (status.code(), status.message().contains(&sandbox.id)));
    assert_eq!(refused, Some((Code::AlreadyExists, true)));
    // Another attempt is another sandbox.
    if let Some(metadata) = other.metadata.as_mut() {
        metadata.attempt = 1;
    }
    assert_ne!(node.cri.run_sandbox(&other).await?, sandbox.id);
    node.finish().await
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_cancel_the_sandbox() -> Result<()> {
    const TIMES: u32 = 16;
    let node = Node::start().await?;
    let begin = Instant::now();
    node.sandbox("measured").await?;
    let span = begin.elapsed();
    // It goes a little later each time. Those that the agent has heard of by then stay: the
    // retry meets a sandbox that was made before the client went.
    let mut stayed = 0;
    for number in 0..TIMES {
        let config = node.sandbox_config(&format!("pod-{number}"));
        let call = tokio::spawn({
            let (cri, config) = (node.cri.clone(), config.clone());
            async move { cri.run_sandbox(&config).await }
        });
        tokio::time::sleep(span * number / TIMES).await;
        let answered = call.is_finished();
        call.abort();
        let went = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
        // Whatever would be cancelled is by now.
        drop(call.await);
        let id = node.cri.run_sandbox(&config).await?;
        let status = node.cri.sandbox_status(&id).await?;
        assert_eq!(status.state(), PodSandboxState::SandboxReady);
        if !answered && status.created_at < went {
            stayed += 1;
        }
    }
    assert!(stayed > 0, "no call was under way when its client went");
    node.finish().await
}

#[tokio::test]
async fn lists_are_filtered_by_id_state_and_label() -> Result<()> {
    let node = Node::start().await?;
    let mut ids = HashMap::new();
    for (name, tier) in [("a", "front"), ("b", "back"), ("c", "back")] {
        let mut config = node.sandbox_config(name);
        config.labels.insert("tier".to_owned(), tier.to_owned());
        ids.insert(name, node.sandbox_of(config).await?.id);
    }
    node.cri.stop_sandbox(&ids["b"]).await?;
    let by_state = |state: PodSandboxState| PodSandboxFilter {
        state: Some(PodSandboxStateValue {
            state: state.into(),
        }),
        ..PodSandboxFilter::default()
    };
    let by_label = |tier: &str| PodSandboxFilter {
        label_selector: HashMap::from([("tier".to_owned(), tier.to_owned())]),
        ..PodSandboxFilter::default()
    };
    let by_id = PodSandboxFilter {
        id: ids["a"].clone(),
        ..PodSandboxFilter::default()
    };
    assert_eq!(
        listed(&node, PodSandboxFilter::default()).await?,
        ["a", "b", "c"]
    );
    assert_eq!(
        listed(&node, by_state(PodSandboxState::SandboxReady)).await?,
        ["a", "c"]
    );
    assert_eq!(
        listed(&node, by_state(PodSandboxState::SandboxNotready)).await?,
        ["b"]
    );
    assert_eq!(listed(&node, by_label("back")).await?, ["b", "c"]);
    assert_eq!(listed(&node, by_id).await?, ["a"]);
    node.finish().await
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_made() -> Result<()> {
    let node = Node::start().await?;
    type Change = fn(&mut PodSandboxConfig);
    let changes: [(&str, Change); 8] = [
        ("no metadata", |config| config.metadata = None),
        ("an empty name", |config| {
            config.metadata.get_or_insert_default().name.clear()
        }),
        ("a host name with a newline", |config| {
            config.hostname = "a\nb".to_owned()
        }),
        ("a host name of 65 letters", |config| {
            config.hostname = "a".repeat(65)
        }),
        ("a relative log directory", |config| {
            config.log_directory = "logs".to_owned()
        }),
        ("a log directory that climbs", |config| {
            config.log_directory = "/var/log/pods/../../../etc".to_owned()
        }),
        ("a cgroup parent that climbs", |config| {
            config.linux.get_or_insert_default().cgroup_parent = "/kubepods/../..".to_owned();
        }),
        ("a sysctl of the host", |config| {
            let sysctls = &mut config.linux.get_or_insert_default().sysctls;
            sysctls.insert("kernel.core_pattern".to_owned(), "|/bin/sh".to_owned());
        }),
    ];
    for (what, change) in changes {
        let mut config = node.sandbox_config("refused");
        change(&mut config);
        let code = node
            .cri
            .run_sandbox(&config)
            .await
            .err()
            .map(|status| status.code());
        assert_eq!(code, Some(Code::InvalidArgument), "{what}");
    }
    let unknown = node
        .cri
        .run_sandbox_with(&node.sandbox_config("refused"), "no-such-handler")
        .await;
    let code = unknown.err().map(|status| status.code());
    assert!(
        matches!(
            code,
            Some(Code::NotFound | Code::InvalidArgument | Code::FailedPrecondition)
        ),
        "{code:?}"
    );
    assert_eq!(listed(&node, PodSandboxFilter::default()).await?, [""; 0]);
    node.nothing_left().await?;
    node.finish().await
}

#[tokio::test]
async fn host_name_name_servers_and_sysctls_are_the_sandboxs() -> Result<()> {
    let node = Node::start().await?;
    let mut config = node.sandbox_config("one");
    config.hostname = "my-host".to_owned();
    config.dns_config = Some(DnsConfig {
        servers: vec!["192.0.2.53".to_owned(), "fe80::53%eth0".to_owned()],
        searches: vec!["example.org".to_owned()],
        options: vec!["ndots:3".to_owned()],
    });
    let sysctls = &mut config.linux.get_or_insert_default().sysctls;
    sysctls.insert(
        "net.ipv4.ip_unprivileged_port_start".to_owned(),
        "80".to_owned(),
    );
    sysctls.insert("kernel.shm_rmid_forced".to_owned(), "1".to_owned());
    let sandbox = node.sandbox_of(config).await?;
    let line = "hostname; cat /etc/resolv.conf; grep my-host /etc/hosts | wc -l; grep -c localhost /etc/hosts; \
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced";
    let (code, text) = node.shell(&sandbox, "main", line).await?;
    assert_eq!(code, 0, "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.first(), Some(&"my-host"));
    for wanted in [
        "nameserver 192.0.2.53",
        "nameserver fe80::53%eth0",
        "search example.org",
        "options ndots:3",
    ] {
        assert!(lines.contains(&wanted), "{wanted} is not in {text}");
    }
    assert_eq!(lines[lines.len() - 2..], ["80", "1"]);
    node.finish().await
}

#[tokio::test]
async fn a_verbose_status_tells_more() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("one").await?;
    let request = PodSandboxStatusRequest {
        pod_sandbox_id: sandbox.id.clone(),
        verbose: true,
    };
    let answer = node
        .cri
        .runtime
        .clone()
        .pod_sandbox_status(request)
        .await?
        .into_inner();
    assert!(!answer.info.is_empty());
    node.finish().await
}
