//! Where the daemon serves, and what it says of itself there.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use anyhow::{Context as _, Result};
use harness::agent::{Agent, Options};
use harness::cri::{Cri, channel};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

const SERVICES: [&str; 5] = [
    "agent.v1.Containers",
    "agent.v1.Images",
    "agent.v1.System",
    "runtime.v1.ImageService",
    "runtime.v1.RuntimeService",
];

#[tokio::test]
async fn every_address_is_served_with_mode_0660() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let paths = ["a.sock", "deep/b.sock"].map(|name| directory.path().join(name));
    let addresses = paths
        .clone()
        .map(|path| format!("unix://{}", path.display()));
    let options = Options::default()
        .listening_on(&addresses)
        .with("", "socket_group = \"daemon\"");
    let mut agent = Agent::start_with(options).await?;
    for path in &paths {
        let cri = Cri::connect(path).await?;
        assert_eq!(cri.version().await?.runtime_name, "node-agent");
        let data = std::fs::metadata(path)?;
        let seen = (data.permissions().mode() & 0o7777, data.uid(), data.gid());
        // Debian's group daemon is 1.
        assert_eq!(seen, (0o660, 0, 1), "{}", path.display());
    }
    agent.terminate()?;
    for path in &paths {
        assert!(!path.exists(), "{} is left", path.display());
    }
    agent.finish()
}

#[tokio::test]
async fn the_socket_is_in_the_state_directory_if_nothing_else_is_said() -> Result<()> {
    let agent = Agent::start_with(Options::default().listening_on(&[])).await?;
    assert_eq!(agent.socket(), agent.state().join("node-agent.sock"));
    assert_eq!(
        agent.cri().await?.version().await?.runtime_name,
        "node-agent"
    );
    agent.finish()
}

#[tokio::test]
async fn health_is_told_of_the_node_and_of_each_service() -> Result<()> {
    let mut agent = Agent::start().await?;
    let mut health = HealthClient::new(channel(agent.socket()).await?);
    let ask = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    for service in SERVICES.iter().chain(&[""]) {
        let answer = health.check(ask(service)).await?.into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = health.check(ask("no.such.Service")).await.err();
    assert_eq!(unknown.map(|status| status.code()), Some(Code::NotFound));
    let mut watch = health.watch(ask("")).await?.into_inner();
    let first = watch.message().await?.context("a first state")?;
    assert_eq!(first.status(), ServingStatus::Serving);
    let ended = tokio::task::spawn_blocking(move || agent.terminate().map(|()| agent));
    let last = watch.message().await?.context("a last state")?;
    assert_eq!(last.status(), ServingStatus::NotServing);
    drop(watch);
    ended.await??.finish()
}

#[tokio::test]
async fn reflection_gives_every_service_with_its_contract() -> Result<()> {
    let agent = Agent::start().await?;
    let mut reflection = ServerReflectionClient::new(channel(agent.socket()).await?);
    for service in SERVICES {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::FileContainingSymbol(service.to_owned())),
        };
        let answers = reflection.server_reflection_info(tokio_stream::once(request));
        let answer = answers.await?.into_inner().message().await?;
        match answer.and_then(|answer| answer.message_response) {
            Some(MessageResponse::FileDescriptorResponse(files)) => {
                assert!(!files.file_descriptor_proto.is_empty(), "{service}");
            }
            other => anyhow::bail!("{service}: {other:?}"),
        }
    }
    agent.finish()
}
