//! What containers and pods use.

use anyhow::{Context as _, Result};
use harness::agent::Options;
use harness::node::Node;
use proto::cri::{
    ContainerStats, ContainerStatsFilter, ContainerStatsRequest, ListContainerStatsRequest,
    ListPodSandboxStatsRequest, NamespaceMode, PodSandboxStats, PodSandboxStatsFilter,
    PodSandboxStatsRequest, StreamContainerStatsRequest, StreamPodSandboxStatsRequest, UInt64Value,
};
use tonic::Code;

use crate::lists::all;

async fn of_container(node: &Node, id: &str) -> Result<ContainerStats> {
    let request = ContainerStatsRequest {
        container_id: id.to_owned(),
    };
    let answer = node.cri.runtime.clone().container_stats(request).await?;
    answer.into_inner().stats.context("no statistics")
}

async fn of_sandbox(node: &Node, id: &str) -> Result<PodSandboxStats> {
    let request = PodSandboxStatsRequest {
        pod_sandbox_id: id.to_owned(),
    };
    let answer = node.cri.runtime.clone().pod_sandbox_stats(request).await?;
    answer.into_inner().stats.context("no statistics")
}

fn number(value: Option<UInt64Value>) -> u64 {
    value.map_or(0, |value| value.value)
}

/// A second between samples.
fn often() -> Options {
    Options::default().with("stats", "period_seconds = 1")
}

#[tokio::test]
async fn a_container_tells_what_it_uses_at_once_and_samples_say_when_they_were_taken() -> Result<()>
{
    let node = Node::start_with(often()).await?;
    let sandbox = node.sandbox("pod").await?;
    let line = "head -c 3000000 /dev/zero >/tmp/file; while :; do :; done";
    let mut config = node.container_config("main", &["/bin/sh", "-c", line]);
    let linux = config.linux.get_or_insert_default();
    linux
        .resources
        .get_or_insert_default()
        .memory_limit_in_bytes = 64 << 20;
    let id = node.run_of(&sandbox, &config).await?;
    let first = of_container(&node, &id).await?;
    let attributes = first.attributes.clone().unwrap_or_default();
    assert_eq!(
        (&attributes.id, attributes.labels),
        (&id, config.labels.clone())
    );
    let (cpu, memory) = (
        first.cpu.unwrap_or_default(),
        first.memory.unwrap_or_default(),
    );
    assert!(
        cpu.timestamp > 0 && number(cpu.usage_core_nano_seconds) > 0,
        "{cpu:?}"
    );
    assert!(cpu.usage_nano_cores.is_some());
    assert!(
        number(memory.rss_bytes) > 0 && number(memory.page_faults) > 0,
        "{memory:?}"
    );
    let (left, used) = (
        number(memory.available_bytes),
        number(memory.working_set_bytes),
    );
    assert_eq!(left + used, 64 << 20, "{memory:?}");
    assert!(used <= number(memory.usage_bytes) && memory.major_page_faults.is_some());
    assert!(first.swap.is_some() && first.io.is_some());
    let layer = first.writable_layer.unwrap_or_default();
    assert!(
        layer.timestamp > 0 && number(layer.inodes_used) > 0,
        "{layer:?}"
    );
    assert!(layer.fs_id.is_some_and(|id| id.mountpoint.starts_with('/')));

    let later = harness::wait::until_async("the next samples are taken", || async {
        let stats = of_container(&node, &id).await?;
        let written = number(stats.writable_layer.clone().unwrap_or_default().used_bytes);
        let newer = stats.cpu.unwrap_or_default().timestamp > cpu.timestamp;
        Ok((newer && written >= 3_000_000).then_some(stats))
    })
    .await?;
    let later = later.cpu.unwrap_or_default();
    let busy = number(later.usage_nano_cores);
    assert!(
        (10_000_000..2_500_000_000).contains(&busy),
        "{busy} of a core's billion"
    );
    assert!(number(later.usage_core_nano_seconds) > number(cpu.usage_core_nano_seconds));
    // Between two samples everybody is told the same.
    let mut runtime = node.cri.runtime.clone();
    let all = runtime.list_container_stats(ListContainerStatsRequest::default());
    let listed = all.await?.into_inner().stats.into_iter().next();
    let listed = listed.context("nothing listed")?.cpu.unwrap_or_default();
    assert!(
        listed == later || listed.timestamp > later.timestamp,
        "{listed:?} {later:?}"
    );
    node.finish().await
}

#[tokio::test]
async fn a_pod_tells_what_it_uses_with_its_network_and_its_containers() -> Result<()> {
    let node = Node::start_with(often()).await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    let ended = node.run(&sandbox, "done", &["/bin/true"]).await?;
    node.exited(&ended).await?;
    let before = of_sandbox(&node, &sandbox.id).await?;
    let attributes = before.attributes.unwrap_or_default();
    assert_eq!(
        (&attributes.id, &attributes.metadata),
        (&sandbox.id, &sandbox.config.metadata)
    );
    let linux = before.linux.unwrap_or_default();
    assert!(number(linux.cpu.unwrap_or_default().usage_core_nano_seconds) > 0);
    assert!(number(linux.memory.unwrap_or_default().usage_bytes) > 0);
    assert!(number(linux.process.unwrap_or_default().process_count) >= 1);
    assert!(linux.io.is_some());
    let ids: Vec<_> = linux
        .containers
        .iter()
        .filter_map(|one| one.attributes.clone())
        .collect();
    assert_eq!(ids.iter().map(|one| &one.id).collect::<Vec<_>>(), [&id]);
    let received = linux
        .network
        .unwrap_or_default()
        .default_interface
        .unwrap_or_default();
    assert_eq!(received.name, "eth0");

    let status = node.cri.sandbox_status(&sandbox.id).await?;
    let ip = status.network.unwrap_or_default().ip;
    let ping = std::process::Command::new("ping")
        .args(["-c", "5", "-i", "0.01", "-s", "1000", &ip])
        .output()?;
    assert!(ping.status.success(), "{ping:?}");
    harness::wait::until_async("the pings are counted", || async {
        let now = of_sandbox(&node, &sandbox.id)
            .await?
            .linux
            .unwrap_or_default();
        let eth0 = now
            .network
            .unwrap_or_default()
            .default_interface
            .unwrap_or_default();
        let more = |now, before| number(now) >= number(before) + 5 * 1000;
        let counted =
            more(eth0.rx_bytes, received.rx_bytes) && more(eth0.tx_bytes, received.tx_bytes);
        Ok(counted.then_some(()))
    })
    .await?;
    node.finish().await
}

#[tokio::test]
async fn only_what_runs_and_is_asked_for_is_listed_in_one_message_or_several() -> Result<()> {
    let node = Node::start().await?;
    let mut runtime = node.cri.runtime.clone();
    let one = node.sandbox("one").await?;
    let mut config = node.sandbox_config("two");
    let linux = config.linux.get_or_insert_default();
    let context = linux.security_context.get_or_insert_default();
    context.namespace_options.get_or_insert_default().network = NamespaceMode::Node.into();
    config.hostname.clear();
    config.labels.insert("which".to_owned(), "host".to_owned());
    let two = node.sandbox_of(config).await?;
    let first = node.run(&one, "first", &["/bin/pause"]).await?;
    let second = node.run(&two, "second", &["/bin/pause"]).await?;
    let ended = node.run(&two, "ended", &["/bin/true"]).await?;
    node.exited(&ended).await?;
    node.cri
        .create_container(
            &one.id,
            &node.container_config("created", &["/bin/pause"]),
            &one.config,
        )
        .await?;
    // A person's containers are not a kubelet's.
    node.ctl()?.ok(&["run", "-d", &node.image, "/bin/pause"])?;

    let filter = |sandbox: &str| ContainerStatsFilter {
        pod_sandbox_id: sandbox.to_owned(),
        ..ContainerStatsFilter::default()
    };
    for (filter, wanted) in [
        (None, vec![&first, &second]),
        (Some(filter(&one.id)), vec![&first]),
        (Some(filter("0000000000000000")), vec![]),
    ] {
        let list = ListContainerStatsRequest {
            filter: filter.clone(),
        };
        let list = runtime.list_container_stats(list).await?.into_inner().stats;
        let stream = StreamContainerStatsRequest { filter };
        let stream = runtime.stream_container_stats(stream).await?.into_inner();
        let streamed = all(stream, |message| message.container_stats).await?;
        for found in [list, streamed] {
            let ids = found.iter().filter_map(|one| one.attributes.as_ref());
            let mut ids: Vec<_> = ids.map(|one| &one.id).collect();
            ids.sort();
            let mut wanted = wanted.clone();
            wanted.sort();
            assert_eq!(ids, wanted);
        }
    }
    let filter = Some(PodSandboxStatsFilter {
        label_selector: [("which".to_owned(), "host".to_owned())].into(),
        ..PodSandboxStatsFilter::default()
    });
    for (filter, wanted) in [(None, 2), (filter, 1)] {
        let list = ListPodSandboxStatsRequest {
            filter: filter.clone(),
        };
        let list = runtime
            .list_pod_sandbox_stats(list)
            .await?
            .into_inner()
            .stats;
        let stream = StreamPodSandboxStatsRequest { filter };
        let stream = runtime.stream_pod_sandbox_stats(stream).await?.into_inner();
        let streamed = all(stream, |message| message.pod_sandbox_stats).await?;
        assert_eq!((list.len(), streamed.len()), (wanted, wanted));
    }
    // A pod of the host's network has none of its own.
    let host = of_sandbox(&node, &two.id).await?.linux.unwrap_or_default();
    assert_eq!(host.network, None);
    node.ctl()?
        .ok(&["rm", "-f", node.ctl()?.ok(&["ps", "-q"])?.trim()])?;
    node.finish().await
}

#[tokio::test]
async fn what_is_gone_is_not_found_and_what_ended_uses_nothing() -> Result<()> {
    let node = Node::start().await?;
    for gone in ["0123456789abcdef", "../..", ""] {
        let container = of_container(&node, gone).await.expect_err(gone);
        let sandbox = of_sandbox(&node, gone).await.expect_err(gone);
        for error in [container, sandbox] {
            let code = error
                .downcast_ref::<tonic::Status>()
                .map(tonic::Status::code);
            assert_eq!(code, Some(Code::NotFound), "{gone:?}");
        }
    }
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/true"]).await?;
    node.exited(&id).await?;
    let stats = of_container(&node, &id).await?;
    assert_eq!((stats.cpu, stats.memory), (None, None));
    assert!(stats.writable_layer.is_some());
    node.cri.stop_sandbox(&sandbox.id).await?;
    let stopped = of_sandbox(&node, &sandbox.id)
        .await?
        .linux
        .unwrap_or_default();
    assert_eq!((stopped.cpu, stopped.network), (None, None));
    node.finish().await
}
