//! The node itself.

use std::pin::Pin;

use agent_core::container::state::ContainerState;
use agent_core::event::Event;
use agent_types::Owner;
use futures_util::Stream;
use proto::agent;
use proto::agent::system_server::System;
use tonic::{Request, Response, Status};

use super::Agent;
use crate::follow::follow;
use crate::status;

type Answer<T> = Result<Response<T>, Status>;

/// Version of `agent.v1`.
const API_VERSION: &str = "v1";

fn event(event: &Event) -> agent::Event {
    agent::Event {
        time: event.time.nanos(),
        kind: event.subject.as_str().to_owned(),
        action: event.action.as_str().to_owned(),
        id: event.id.clone(),
        owner: match event.owner {
            Some(Owner::Cri) => "cri".to_owned(),
            Some(Owner::Local) => "local".to_owned(),
            None => String::new(),
        },
        attributes: event
            .attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    }
}

/// Returns the machine's memory in bytes; 0 where the kernel does not say.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Agent {
    /// Returns what can be told of the node without looking at a disk.
    fn summary(&self) -> agent::InfoResponse {
        let services = self.node.services();
        let local = self.node.containers(Owner::Local);
        let running = local
            .iter()
            .filter(|seen| matches!(seen.container.state, ContainerState::Running { .. }));
        let exited = local
            .iter()
            .filter(|seen| matches!(seen.container.state, ContainerState::Exited(_)));
        let network = services.network.status();
        let paths = &services.settings.paths;
        agent::InfoResponse {
            version: self.identity.version.clone(),
            name: self.identity.host.clone(),
            root: paths.root.to_string_lossy().into_owned(),
            state: paths.state.to_string_lossy().into_owned(),
            containers: count(local.len()),
            containers_running: count(running.count()),
            containers_exited: count(exited.count()),
            sandboxes: count(self.node.sandboxes(Owner::Cri).len()),
            images: count(self.node.images().list().len()),
            cgroup_version: services.cgroups.version().number().to_string(),
            cgroup_driver: match services.cgroups.is_systemd() {
                true => "systemd",
                false => "cgroupfs",
            }
            .to_owned(),
            kernel: self.identity.kernel.clone(),
            os: self.identity.os.clone(),
            architecture: std::env::consts::ARCH.to_owned(),
            cpus: std::thread::available_parallelism().map_or(0, |cpus| count(cpus.get())),
            memory: memory(),
            bridge: self.identity.bridge.clone(),
            subnets: self.identity.subnets.clone(),
            warnings: network.warnings.iter().map(ToString::to_string).collect(),
            ..agent::InfoResponse::default()
        }
    }
}

#[tonic::async_trait]
impl System for Agent {
    async fn version(
        &self,
        _request: Request<agent::VersionRequest>,
    ) -> Answer<agent::VersionResponse> {
        Ok(Response::new(agent::VersionResponse {
            version: self.identity.version.clone(),
            api_version: API_VERSION.to_owned(),
            git_commit: self.identity.commit.clone(),
            os: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            kernel: self.identity.kernel.clone(),
        }))
    }

    async fn info(&self, _request: Request<agent::InfoRequest>) -> Answer<agent::InfoResponse> {
        let usage = self.node.images().fs_usage().await;
        let usage = usage.map_err(|error| status::of(&error))?;
        Ok(Response::new(agent::InfoResponse {
            image_bytes: usage.bytes,
            ..self.summary()
        }))
    }

    type EventsStream = Pin<Box<dyn Stream<Item = Result<agent::Event, Status>> + Send>>;

    async fn events(&self, request: Request<agent::EventsRequest>) -> Answer<Self::EventsStream> {
        let kinds = request.into_inner().kinds;
        let heard = self.node.services().events.listen();
        let stream = follow(heard, move |one| {
            let wanted = kinds.is_empty() || kinds.iter().any(|kind| kind == one.subject.as_str());
            wanted.then(|| event(one))
        });
        Ok(Response::new(Box::pin(stream)))
    }
}
