use std::pin::Pin;

use proto::agent::system_server::System;
use proto::agent::{
    Event, EventsRequest, InfoRequest, InfoResponse, VersionRequest, VersionResponse,
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::Shared;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl System for Shared {
    async fn version(&self, _: Request<VersionRequest>) -> Answer<VersionResponse> {
        self.asked("Version", "")?;
        Ok(Response::new(VersionResponse {
            version: "0.1.0".into(),
            api_version: "agent.v1".into(),
            git_commit: "abcdef0".into(),
            os: "linux".into(),
            architecture: "amd64".into(),
            kernel: "6.1.0".into(),
        }))
    }

    async fn info(&self, _: Request<InfoRequest>) -> Answer<InfoResponse> {
        self.asked("Info", "")?;
        Ok(Response::new(InfoResponse {
            version: "0.1.0".into(),
            name: "node-1".into(),
            root: "/var/lib/node-agent".into(),
            state: "/run/node-agent".into(),
            containers: 3,
            containers_running: 2,
            containers_exited: 1,
            sandboxes: 4,
            images: 5,
            cgroup_version: "2".into(),
            cgroup_driver: "cgroupfs".into(),
            kernel: "6.1.0".into(),
            os: "linux".into(),
            architecture: "amd64".into(),
            cpus: 2,
            memory: 8_217_694_208,
            image_bytes: 133_240_000,
            bridge: "node0".into(),
            subnets: vec!["10.88.0.0/16".into(), "fd88::/64".into()],
            warnings: vec!["swap cannot be limited".into()],
        }))
    }

    type EventsStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn events(&self, request: Request<EventsRequest>) -> Answer<Self::EventsStream> {
        self.asked("Events", request.into_inner().kinds.join(","))?;
        let events = self.with(|fake| fake.events.clone());
        Ok(Response::new(Box::pin(tokio_stream::iter(
            events.into_iter().map(Ok),
        ))))
    }
}
