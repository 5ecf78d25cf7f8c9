//! Metrics of pods and containers, under the names that users of cAdvisor know.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use harness::agent::Options;
use harness::node::Node;
use proto::cri::{
    ListMetricDescriptorsRequest, ListPodSandboxMetricsRequest, Metric, MetricType,
    StreamPodSandboxMetricsRequest,
};

use crate::lists::all;

/// Labels and value of each value of each metric.
type Values = BTreeMap<String, Vec<(HashMap<String, String>, u64)>>;

fn by_name(keys: &HashMap<String, Vec<String>>, metrics: &[Metric]) -> Result<Values> {
    let mut found = Values::new();
    for metric in metrics {
        let keys = keys.get(&metric.name);
        let keys = keys.with_context(|| format!("{} has no descriptor", metric.name))?;
        assert_eq!(keys.len(), metric.label_values.len(), "{metric:?}");
        let counter = metric.metric_type() == MetricType::Counter;
        assert!(
            counter || !metric.name.ends_with("_seconds_total"),
            "{metric:?}"
        );
        assert!(metric.timestamp > 0);
        let labels = keys.iter().cloned().zip(metric.label_values.clone());
        let value = metric.value.context("a metric without a value")?.value;
        let values = found.entry(metric.name.clone()).or_default();
        values.push((labels.collect(), value));
    }
    Ok(found)
}

/// Returns the labels of each metric, by its name.
async fn keys(node: &Node) -> Result<HashMap<String, Vec<String>>> {
    let mut runtime = node.cri.runtime.clone();
    let request = ListMetricDescriptorsRequest {};
    let descriptors = runtime.list_metric_descriptors(request).await?;
    let descriptors = descriptors.into_inner().descriptors;
    assert!(descriptors.iter().all(|one| !one.help.is_empty()));
    let keys = descriptors.into_iter();
    Ok(keys.map(|one| (one.name, one.label_keys)).collect())
}

#[tokio::test]
async fn every_metric_has_a_descriptor_and_says_whose_it_is() -> Result<()> {
    let node = Node::start_with(Options::default().with("stats", "period_seconds = 1")).await?;
    let mut runtime = node.cri.runtime.clone();
    let keys = keys(&node).await?;
    for name in [
        "container_cpu_usage_seconds_total",
        "container_memory_working_set_bytes",
        "container_network_receive_bytes_total",
        "container_fs_usage_bytes",
        "container_processes",
    ] {
        assert!(keys.contains_key(name), "{name}");
    }

    let sandbox = node.sandbox("pod").await?;
    // Some of it past the page cache: otherwise no disk may have had to do with it yet.
    let line = "head -c 3000000 /dev/zero >/tmp/file; \
                dd if=/dev/zero of=/tmp/direct bs=64k count=1 oflag=direct status=none || exit; \
                exec 5</etc/passwd; while :; do :; done";
    let mut config = node.container_config("main", &["/bin/sh", "-c", line]);
    let linux = config.linux.get_or_insert_default();
    linux
        .resources
        .get_or_insert_default()
        .memory_limit_in_bytes = 64 << 20;
    let id = node.run_of(&sandbox, &config).await?;
    let (own, values) =
        harness::wait::until_async("a second of processor time is used", || async {
            let mut runtime = node.cri.runtime.clone();
            let answer = runtime
                .list_pod_sandbox_metrics(ListPodSandboxMetricsRequest {})
                .await?;
            let [pod] = answer
                .into_inner()
                .pod_metrics
                .try_into()
                .ok()
                .context("not one pod")?;
            assert_eq!(pod.pod_sandbox_id, sandbox.id);
            let [container] = &pod.container_metrics[..] else {
                anyhow::bail!("not one container: {pod:?}");
            };
            assert_eq!(container.container_id, id);
            let values = by_name(&keys, &container.metrics)?;
            let used = values["container_cpu_usage_seconds_total"][0].1;
            Ok((used >= 1).then_some((by_name(&keys, &pod.metrics)?, values)))
        })
        .await?;
    let one = |name: &str| -> Result<(HashMap<String, String>, u64)> {
        let found = values
            .get(name)
            .with_context(|| format!("{name} is missing"))?;
        Ok(found[0].clone())
    };
    let (labels, _) = one("container_cpu_usage_seconds_total")?;
    let metadata = sandbox.config.metadata.clone().unwrap_or_default();
    for (key, wanted) in [
        ("name", id.as_str()),
        ("container", "main"),
        ("image", node.image.as_str()),
        ("namespace", metadata.namespace.as_str()),
        ("pod", metadata.name.as_str()),
        ("cpu", "total"),
    ] {
        assert_eq!(labels[key], wanted, "{key}");
    }
    assert!(labels["id"].starts_with('/') && labels["id"].ends_with(&id));
    assert!(one("container_memory_working_set_bytes")?.1 > 0);
    assert!(one("container_memory_usage_bytes")?.1 >= 3_000_000);
    assert_eq!(one("container_spec_memory_limit_bytes")?.1, 64 << 20);
    assert!(one("container_fs_usage_bytes")?.1 > 0 && one("container_fs_limit_bytes")?.1 > 0);
    assert!(one("container_start_time_seconds")?.1 <= one("container_last_seen")?.1);
    assert_eq!(
        (one("container_processes")?.1, one("container_threads")?.1),
        (1, 1)
    );
    assert!(one("container_file_descriptors")?.1 >= 4);
    assert_eq!(one("container_sockets")?.1, 0);
    assert_eq!(one("container_ulimits_soft")?.0["ulimit"], "max_open_files");
    assert!(!one("container_fs_reads_bytes_total")?.0["device"].is_empty());
    assert!(one("container_fs_writes_bytes_total")?.1 >= 65_536);
    assert!(!values.contains_key("container_network_receive_bytes_total"));
    // What the pod's own network carried is the pod's.
    let (labels, _) = &own["container_network_receive_bytes_total"][0];
    assert_eq!(
        (labels["interface"].as_str(), labels["container"].as_str()),
        ("eth0", "")
    );
    assert!(own.contains_key("container_cpu_usage_seconds_total"));

    let stream = runtime
        .stream_pod_sandbox_metrics(StreamPodSandboxMetricsRequest {})
        .await?;
    let streamed = all(stream.into_inner(), |message| message.pod_sandbox_metrics).await?;
    assert_eq!(streamed.len(), 1);
    assert_eq!(streamed[0].container_metrics[0].container_id, id);
    node.cri.stop_sandbox(&sandbox.id).await?;
    let none = runtime
        .list_pod_sandbox_metrics(ListPodSandboxMetricsRequest {})
        .await?;
    assert_eq!(none.into_inner().pod_metrics, []);
    node.finish().await
}
