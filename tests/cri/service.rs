//! What the agent says of itself.

use anyhow::Result;
use harness::cri::channel;
use harness::node::Node;
use proto::cri::{
    CgroupDriver, CheckpointContainerRequest, CheckpointPodRequest, ContainerFilter,
    ListContainersRequest, RestorePodRequest, RuntimeConfigRequest, StatusRequest,
};
use tonic::Code;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

#[tokio::test]
async fn version_status_and_runtime_config_are_answered() -> Result<()> {
    let node = Node::start().await?;
    let version = node.cri.version().await?;
    assert_eq!(
        (
            version.version.as_str(),
            version.runtime_api_version.as_str()
        ),
        ("0.1.0", "v1")
    );
    assert_eq!(version.runtime_name, "node-agent");
    let numbers: Vec<_> = version.runtime_version.split('.').collect();
    assert!(
        numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok()),
        "{}",
        version.runtime_version
    );
    let status = node
        .cri
        .runtime
        .clone()
        .status(StatusRequest { verbose: true })
        .await?
        .into_inner();
    let mut conditions: Vec<_> = status
        .status
        .unwrap_or_default()
        .conditions
        .into_iter()
        .map(|one| (one.r#type, one.status))
        .collect();
    conditions.sort();
    assert_eq!(
        conditions,
        [
            ("NetworkReady".to_owned(), true),
            ("RuntimeReady".to_owned(), true)
        ]
    );
    let config = node
        .cri
        .runtime
        .clone()
        .runtime_config(RuntimeConfigRequest {})
        .await?
        .into_inner();
    assert_eq!(
        config.linux.map(|linux| linux.cgroup_driver()),
        Some(CgroupDriver::Cgroupfs)
    );
    node.finish().await
}

#[tokio::test]
async fn what_is_not_there_yet_is_unimplemented() -> Result<()> {
    let node = Node::start().await?;
    let mut runtime = node.cri.runtime.clone();
    let container = runtime.checkpoint_container(CheckpointContainerRequest::default());
    let container = container.await.map(drop);
    let pod = runtime.checkpoint_pod(CheckpointPodRequest::default());
    let pod = pod.await.map(drop);
    let restored = runtime.restore_pod(RestorePodRequest::default());
    let restored = restored.await.map(drop);
    let codes = [container, pod, restored].map(|answer| answer.map_err(|status| status.code()));
    assert_eq!(codes, [Err(Code::Unimplemented); 3]);
    node.finish().await
}

#[tokio::test]
async fn messages_of_16_mib_are_taken_and_no_longer_ones() -> Result<()> {
    const CAP: usize = 16 << 20;
    let node = Node::start().await?;
    let list = |length: usize| {
        let filter = ContainerFilter {
            label_selector: [("long".to_owned(), "x".repeat(length))].into(),
            ..ContainerFilter::default()
        };
        let request = ListContainersRequest {
            filter: Some(filter),
        };
        let mut runtime = node.cri.runtime.clone();
        async move { runtime.list_containers(request).await }
    };
    // Room for what is around it.
    assert_eq!(list(CAP - 100).await?.into_inner().containers, []);
    let refused = list(CAP + 1).await.err();
    assert!(
        refused
            .as_ref()
            .is_some_and(|status| status.code() == Code::OutOfRange),
        "{refused:?}"
    );
    assert_eq!(list(1).await?.into_inner().containers, [], "it goes on");
    node.finish().await
}

#[tokio::test]
async fn every_service_is_found_by_reflection() -> Result<()> {
    let node = Node::start().await?;
    let mut reflection = ServerReflectionClient::new(channel(node.agent.socket()).await?);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection
        .server_reflection_info(tokio_stream::once(request))
        .await?
        .into_inner();
    let answer = answers
        .message()
        .await?
        .and_then(|answer| answer.message_response);
    let Some(MessageResponse::ListServicesResponse(list)) = answer else {
        anyhow::bail!("no list of services: {answer:?}");
    };
    let names: Vec<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for wanted in [
        "agent.v1.Containers",
        "agent.v1.Images",
        "agent.v1.System",
        "runtime.v1.ImageService",
        "runtime.v1.RuntimeService",
    ] {
        assert!(
            names.iter().any(|name| name == wanted),
            "{wanted} is not among {names:?}"
        );
    }
    node.finish().await
}

#[tokio::test]
async fn the_socket_is_for_root_and_its_group_only() -> Result<()> {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    let node = Node::start().await?;
    let data = std::fs::metadata(node.agent.socket())?;
    assert!(data.file_type().is_socket());
    assert_eq!(format!("{:o}", data.permissions().mode() & 0o7777), "660");
    node.finish().await
}
