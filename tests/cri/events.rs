//! What a kubelet hears of its sandboxes and containers, and of nothing else.

use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::node::Node;
use proto::cri::ContainerEventType as Kind;
use proto::cri::{
    ContainerEventResponse, ContainerState, GetEventsRequest, PodSandboxState,
    StopPodSandboxRequest,
};
use tonic::Streaming;

async fn listen(node: &Node) -> Result<Streaming<ContainerEventResponse>> {
    let mut runtime = node.cri.runtime.clone();
    let events = runtime.get_container_events(GetEventsRequest {}).await?;
    Ok(events.into_inner())
}

async fn next(events: &mut Streaming<ContainerEventResponse>) -> Result<ContainerEventResponse> {
    let event = tokio::time::timeout(Duration::from_secs(20), events.message());
    let event = event.await.context("no event came")?;
    event?.context("the stream ended")
}

/// Kind, id, state of the sandbox, and states of its containers.
type Told = (Kind, String, PodSandboxState, Vec<ContainerState>);

fn told(event: &ContainerEventResponse) -> Told {
    let sandbox = event.pod_sandbox_status.clone().unwrap_or_default();
    (
        event.container_event_type(),
        event.container_id.clone(),
        sandbox.state(),
        event
            .containers_statuses
            .iter()
            .map(|one| one.state())
            .collect(),
    )
}

#[tokio::test]
async fn a_pod_is_told_of_from_its_making_to_its_end_with_its_whole_status() -> Result<()> {
    use ContainerState::{ContainerCreated as Created, ContainerExited, ContainerRunning};
    use Kind::{
        ContainerCreatedEvent, ContainerDeletedEvent, ContainerStartedEvent, ContainerStoppedEvent,
    };
    use PodSandboxState::{SandboxNotready as Not, SandboxReady as Ready};
    let node = Node::start().await?;
    let mut events = listen(&node).await?;
    // A person's container is none of a kubelet's business.
    node.ctl()?.ok(&["run", "--rm", &node.image, "/bin/true"])?;
    let sandbox = node.sandbox("pod").await?;
    let line = ["/bin/sh", "-c", "exit 7"];
    let first = node.run(&sandbox, "first", &line).await?;
    node.exited(&first).await?;
    let second = node.run(&sandbox, "second", &["/bin/pause"]).await?;
    node.cri.remove_container(&first).await?;
    node.cri.stop_sandbox(&sandbox.id).await?;
    node.cri.remove_sandbox(&sandbox.id).await?;

    let pod = || sandbox.id.clone();
    let (one, two) = (|| first.clone(), || second.clone());
    let wanted: Vec<Told> = vec![
        (ContainerCreatedEvent, pod(), Ready, vec![]),
        (ContainerStartedEvent, pod(), Ready, vec![]),
        (ContainerCreatedEvent, one(), Ready, vec![Created]),
        (ContainerStartedEvent, one(), Ready, vec![ContainerRunning]),
        (ContainerStoppedEvent, one(), Ready, vec![ContainerExited]),
        (
            ContainerCreatedEvent,
            two(),
            Ready,
            vec![ContainerExited, Created],
        ),
        (
            ContainerStartedEvent,
            two(),
            Ready,
            vec![ContainerExited, ContainerRunning],
        ),
        (ContainerDeletedEvent, one(), Ready, vec![ContainerRunning]),
        (ContainerStoppedEvent, two(), Not, vec![ContainerExited]),
        (ContainerStoppedEvent, pod(), Not, vec![ContainerExited]),
        (ContainerDeletedEvent, two(), Not, vec![]),
        (ContainerDeletedEvent, pod(), Not, vec![]),
    ];
    let mut heard = Vec::new();
    for _ in &wanted {
        heard.push(next(&mut events).await?);
    }
    assert_eq!(heard.iter().map(told).collect::<Vec<_>>(), wanted);
    let times: Vec<_> = heard.iter().map(|event| event.created_at).collect();
    assert!(times[0] > 0 && times.is_sorted(), "{times:?}");
    let status = heard[4].pod_sandbox_status.clone().unwrap_or_default();
    assert_eq!(status.metadata, sandbox.config.metadata);
    assert!(!status.network.unwrap_or_default().ip.is_empty());
    let ended = &heard[4].containers_statuses[0];
    assert_eq!((ended.id.as_str(), ended.exit_code), (first.as_str(), 7));
    assert_eq!(ended.reason, "Error");
    node.finish().await
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_nobody_up() -> Result<()> {
    let node = Node::start().await?;
    let idle = listen(&node).await?;
    let mut eager = listen(&node).await?;
    let sandbox = node.sandbox("pod").await?;
    for number in 0..20 {
        let id = node
            .run(&sandbox, &format!("c{number}"), &["/bin/true"])
            .await?;
        node.exited(&id).await?;
        node.cri.remove_container(&id).await?;
    }
    // A sandbox that is stopped twice has ended once.
    let mut runtime = node.cri.runtime.clone();
    for _ in 0..2 {
        let pod_sandbox_id = sandbox.id.clone();
        runtime
            .stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id })
            .await?;
    }
    node.cri.remove_sandbox(&sandbox.id).await?;
    let mut last = Vec::new();
    for _ in 0..2 + 4 * 20 + 2 {
        let event = next(&mut eager).await?;
        if event.container_id == sandbox.id {
            last.push(event.container_event_type());
        }
    }
    assert_eq!(
        last,
        [
            Kind::ContainerCreatedEvent,
            Kind::ContainerStartedEvent,
            Kind::ContainerStoppedEvent,
            Kind::ContainerDeletedEvent
        ]
    );
    drop(idle);
    node.finish().await
}
