//! Spans of calls, as a collector gets them.

use anyhow::{Context as _, Result, ensure};
use harness::agent::Options;
use harness::collector::{Caller, Collector, Spans};
use harness::node::Node;
use harness::wait;
use proto::cri::{
    CreateContainerRequest, ExecSyncRequest, RunPodSandboxRequest, StartContainerRequest,
    VersionRequest,
};

const CALLER: Caller = Caller {
    trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
    span: 0xb7ad_6b71_6920_3331,
    sampled: true,
};

/// Runs a pod with one container and a process in it, all below one caller's span.
async fn traced_pod(node: &Node) -> Result<()> {
    let mut runtime = node.cri.runtime.clone();
    let config = node.sandbox_config("pod");
    let sandbox = runtime
        .run_pod_sandbox(CALLER.request(RunPodSandboxRequest {
            config: Some(config.clone()),
            runtime_handler: String::new(),
        })?)
        .await?;
    let sandbox = sandbox.into_inner().pod_sandbox_id;
    let created = CALLER.request(CreateContainerRequest {
        pod_sandbox_id: sandbox,
        config: Some(node.container_config("main", &["/bin/pause"])),
        sandbox_config: Some(config),
    })?;
    let container = Box::pin(runtime.create_container(created)).await?;
    let container_id = container.into_inner().container_id;
    let started = StartContainerRequest {
        container_id: container_id.clone(),
    };
    runtime.start_container(CALLER.request(started)?).await?;
    let exec = ExecSyncRequest {
        container_id,
        cmd: ["/bin/sh", "-c", "true"].map(str::to_owned).to_vec(),
        timeout: 0,
    };
    runtime.exec_sync(CALLER.request(exec)?).await?;
    Ok(())
}

/// Looks for what a traced pod leaves.
fn whole_tree(spans: &Spans) -> Result<()> {
    let spans = spans.of_trace(CALLER.trace);
    let caller = CALLER.span.to_be_bytes();
    let rpc = |method: &str| format!("runtime.v1.RuntimeService/{method}");
    for (method, phases) in [
        (
            "RunPodSandbox",
            &[
                &["queue"][..],
                &["plan"],
                &["record"],
                &["launch", "shim"],
                &["launch", "cgroup"],
                &["network"],
            ][..],
        ),
        (
            "CreateContainer",
            &[
                &["plan"],
                &["make", "cgroup"],
                &["make", "layer"],
                &["create", "clone"],
                &["create", "join"],
                &["create", "mount"],
            ],
        ),
        ("StartContainer", &[&["start"]]),
        ("ExecSync", &[&["start"], &["run"]]),
    ] {
        let call = spans.path(&caller, &[&rpc(method)])?;
        for phase in phases {
            spans.path(&call.span_id, phase)?;
        }
    }
    let create = spans.path(&caller, &[&rpc("CreateContainer"), "create"])?;
    let [clone, join, mount] =
        ["clone", "join", "mount"].map(|name| spans.path(&create.span_id, &[name]));
    let (clone, join, mount) = (clone?, join?, mount?);
    ensure!(clone.end_time_unix_nano == join.start_time_unix_nano);
    ensure!(join.end_time_unix_nano == mount.start_time_unix_nano);
    let call = spans.path(&caller, &[&rpc("StartContainer")])?;
    for name in ["sandbox_id", "container_id"] {
        let named = call.attributes.iter().any(|one| one.key == name);
        ensure!(named, "no {name} in {call:?}");
    }
    Ok(())
}

/// Looks for what a pull leaves.
fn pull(spans: &Spans) -> Result<()> {
    let call = spans.named("runtime.v1.ImageService/PullImage")?;
    ensure!(call.parent_span_id.is_empty(), "nobody is above it");
    for path in [
        &["resolve"][..],
        &["manifest"],
        &["layers", "layer", "fetch"],
        &["layers", "layer", "unpack"],
        &["record"],
    ] {
        spans.path(&call.span_id, path)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_call_is_traced_below_its_callers_span_down_to_clone_and_mounts() -> Result<()> {
    let collector = Collector::start()?;
    let node = Node::start_with(collector.options(Options::default())).await?;
    let untraced = Caller {
        trace: 7,
        sampled: false,
        ..CALLER
    };
    let version = VersionRequest::default();
    let mut runtime = node.cri.runtime.clone();
    runtime.version(untraced.request(version)?).await?;
    traced_pod(&node).await?;
    collector.shows(whole_tree).await?;
    collector.shows(pull).await?;
    // Spans arrive in the order in which they end.
    let of_untraced = collector.spans().of_trace(untraced.trace);
    assert_eq!(of_untraced.count(), 0, "{of_untraced:?}");
    node.finish().await
}

#[tokio::test]
async fn the_last_spans_are_sent_before_the_end() -> Result<()> {
    let collector = Collector::start()?;
    let mut node = Node::start_with(collector.lazy_options(Options::default())).await?;
    let mut runtime = node.cri.runtime.clone();
    let refused = StartContainerRequest {
        container_id: "0123456789".to_owned(),
    };
    let refused = runtime.start_container(CALLER.request(refused)?).await;
    assert!(refused.is_err(), "{refused:?}");
    node.agent.terminate()?;
    let spans = collector.spans().of_trace(CALLER.trace);
    let call = spans.named("runtime.v1.RuntimeService/StartContainer")?;
    let status = call.status.as_ref().context("no status")?;
    assert_eq!(status.code, 2, "an error");
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    node.finish().await
}

#[tokio::test]
async fn without_a_collector_calls_go_on_and_one_warning_is_logged() -> Result<()> {
    // A port that the kernel gives to nobody by chance.
    let options = Options::default()
        .with_variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .with_variable("OTEL_BSP_SCHEDULE_DELAY", "10");
    let mut node = Node::start_with(options).await?;
    let warnings = |node: &Node| node.agent.log().matches("spans not exported").count();
    wait::until("the loss is logged", || {
        Ok((warnings(&node) > 0).then_some(()))
    })?;
    traced_pod(&node).await?;
    node.agent.terminate()?;
    assert_eq!(warnings(&node), 1, "{}", node.agent.log());
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    node.finish().await
}
