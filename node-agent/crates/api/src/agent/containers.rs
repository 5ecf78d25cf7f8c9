//! Containers.

use std::pin::Pin;
use std::time::Duration;

use agent_core::container::logs::LogOptions;
use agent_core::container::logs::line::{LogLine, Stream as LogStream};
use agent_core::container::state::ContainerState;
use agent_core::node::Seen;
use agent_core::time::Timestamp;
use futures_util::{Stream, StreamExt};
use proto::agent;
use proto::agent::containers_server::Containers;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Agent, OWNER};
use crate::convert::{local, shown};
use crate::status;

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn state(seen: &Seen) -> agent::ContainerState {
    if seen.container.restarting {
        return agent::ContainerState::Restarting;
    }
    match seen.container.state {
        ContainerState::Created => agent::ContainerState::Created,
        ContainerState::Running { .. } => agent::ContainerState::Running,
        ContainerState::Exited(_) => agent::ContainerState::Exited,
    }
}

/// Returns whether a container passes the filters of List.
fn passes(seen: &Seen, request: &agent::ListContainersRequest) -> bool {
    let record = &seen.container.record;
    let spec = &record.spec;
    let wanted = if request.states.is_empty() {
        request.all
            || matches!(
                state(seen),
                agent::ContainerState::Running | agent::ContainerState::Restarting
            )
    } else {
        request.states().any(|wanted| wanted == state(seen))
    };
    let labelled = request.labels.iter().all(|(key, value)| {
        spec.labels
            .get(key)
            .is_some_and(|has| value.is_empty() || has == value)
    });
    let from = &request.ancestor;
    let image = from.is_empty()
        || spec.image == *from
        || record.image.to_string() == *from
        || record.image.0.hex().starts_with(from.as_str());
    wanted
        && labelled
        && image
        && spec.metadata.name.contains(&request.name)
        && record.id.as_str().starts_with(&request.id)
}

fn options(request: &agent::LogsRequest) -> LogOptions {
    let time = |nanos: i64| (nanos != 0).then_some(Timestamp(nanos));
    LogOptions {
        follow: request.follow,
        tail: request.tail,
        since: time(request.since),
        until: time(request.until),
        stream: match (request.stdout, request.stderr) {
            (true, false) => Some(LogStream::Stdout),
            (false, true) => Some(LogStream::Stderr),
            _ => None,
        },
    }
}

fn entry(line: LogLine) -> agent::LogEntry {
    let stream = match line.stream {
        LogStream::Stdout => agent::StreamKind::Stdout,
        LogStream::Stderr => agent::StreamKind::Stderr,
    };
    agent::LogEntry {
        time: line.time.nanos(),
        stream: stream.into(),
        data: line.data,
    }
}

impl Agent {
    /// Returns the name asked for, or one made up of the id that no other container has.
    fn name(&self, wanted: &str) -> Result<String, Status> {
        if wanted.is_empty() {
            return self
                .node
                .free_name()
                .map_err(|error| Status::internal(error.to_string()));
        }
        let valid = wanted.parse::<agent_types::ContainerId>().map_err(|_| {
            status::invalid(format!(
                "container name {wanted:?} has more than letters, digits, '_', '.' and '-'"
            ))
        });
        valid.map(|_| wanted.to_owned())
    }

    /// Returns how much each container has written, and that and its image together.
    async fn sizes(&self, all: Vec<Seen>) -> Result<Vec<(Option<u64>, Option<u64>)>, Status> {
        let images: Vec<_> = all
            .iter()
            .map(|seen| seen.container.record.image.to_string())
            .collect();
        let layers = self.node.layers_of(all).await;
        let layers = layers.map_err(|error| status::of(&error))?;
        let with_image = |(image, layer): (String, Option<u64>)| {
            let image = self.node.images().resolve(&image).ok();
            let root = layer
                .zip(image)
                .map(|(own, image)| own + image.unpacked_size());
            (layer, root)
        };
        Ok(images.into_iter().zip(layers).map(with_image).collect())
    }

    fn warnings(&self, spec: &agent::ContainerSpec) -> Vec<String> {
        let swap = spec
            .resources
            .as_ref()
            .is_some_and(|resources| resources.memory_swap != 0 && resources.memory == 0);
        if swap {
            vec!["a limit on memory and swap has no effect without one on memory".to_owned()]
        } else {
            Vec::new()
        }
    }
}

#[tonic::async_trait]
impl Containers for Agent {
    async fn create(
        &self,
        request: Request<agent::CreateContainerRequest>,
    ) -> Answer<agent::CreateContainerResponse> {
        let spec = request.into_inner().spec;
        let mut spec = spec.ok_or_else(|| status::invalid("spec is missing"))?;
        self.complete(&mut spec)?;
        let name = self.name(&spec.name)?;
        let warnings = self.warnings(&spec);
        let settings = &self.node.services().settings;
        let find = |text: &str| self.node.container_for_network(text);
        let spec = local::spec(spec, name.clone(), settings, find)?;
        let created = self.node.create_local(spec).await;
        let id = created.map_err(|error| status::of(&error))?.to_string();
        Ok(Response::new(agent::CreateContainerResponse {
            id,
            name,
            warnings,
        }))
    }

    async fn start(
        &self,
        request: Request<agent::StartContainerRequest>,
    ) -> Answer<agent::StartContainerResponse> {
        let name = request.into_inner().container;
        let seen = self.node.container(OWNER, &name);
        let seen = seen.map_err(|error| status::of(&error))?;
        let id = seen.container.record.id.to_string();
        let started = self.node.start_container(OWNER, &name).await;
        started.map_err(|error| status::with_exit_code(&error, error.program_exit_code()))?;
        Ok(Response::new(agent::StartContainerResponse { id }))
    }

    async fn stop(
        &self,
        request: Request<agent::StopContainerRequest>,
    ) -> Answer<agent::StopContainerResponse> {
        let request = request.into_inner();
        let grace = request
            .timeout
            .map(|seconds| Duration::from_secs(seconds.into()));
        let signal = match request.signal.as_str() {
            "" => None,
            text => Some(local::signal(text)?),
        };
        let stopped = self
            .node
            .stop_container(OWNER, &request.container, signal, grace);
        stopped.await.map_err(|error| status::of(&error))?;
        Ok(Response::new(agent::StopContainerResponse {}))
    }

    async fn kill(
        &self,
        request: Request<agent::KillContainerRequest>,
    ) -> Answer<agent::KillContainerResponse> {
        let request = request.into_inner();
        let signal = match request.signal.as_str() {
            "" => 9,
            text => local::signal(text)?,
        };
        let sent = self
            .node
            .signal_container(OWNER, &request.container, signal);
        sent.await.map_err(|error| status::of(&error))?;
        Ok(Response::new(agent::KillContainerResponse {}))
    }

    async fn remove(
        &self,
        request: Request<agent::RemoveContainerRequest>,
    ) -> Answer<agent::RemoveContainerResponse> {
        let request = request.into_inner();
        let removed = self
            .node
            .remove_container(OWNER, &request.container, request.force);
        let id = removed.await.map_err(|error| status::of(&error))?;
        Ok(Response::new(agent::RemoveContainerResponse {
            id: id.to_string(),
        }))
    }

    async fn list(
        &self,
        request: Request<agent::ListContainersRequest>,
    ) -> Answer<agent::ListContainersResponse> {
        let request = request.into_inner();
        let mut all = self.node.containers(OWNER);
        all.retain(|seen| passes(seen, &request));
        all.sort_by_key(|seen| std::cmp::Reverse(seen.container.record.created_at));
        let mut containers: Vec<_> = all.iter().map(shown::listed).collect();
        if request.size {
            for (shown, size) in containers.iter_mut().zip(self.sizes(all).await?) {
                (shown.size_rw, shown.size_root) = size;
            }
        }
        Ok(Response::new(agent::ListContainersResponse { containers }))
    }

    async fn inspect(
        &self,
        request: Request<agent::InspectContainerRequest>,
    ) -> Answer<agent::InspectContainerResponse> {
        let seen = self.node.container(OWNER, &request.get_ref().container);
        let seen = seen.map_err(|error| status::of(&error))?;
        let mut answer = shown::inspected(&seen);
        if request.get_ref().size
            && let Some(container) = &mut answer.container
            && let Some(size) = self.sizes(vec![seen]).await?.pop()
        {
            (container.size_rw, container.size_root) = size;
        }
        Ok(Response::new(answer))
    }

    type LogsStream = Streamed<agent::LogEntry>;

    async fn logs(&self, request: Request<agent::LogsRequest>) -> Answer<Self::LogsStream> {
        let request = request.into_inner();
        let lines = self
            .node
            .logs(OWNER, &request.container, options(&request))
            .map_err(|error| status::of(&error))?;
        let entries = ReceiverStream::new(lines)
            .map(|line| line.map(entry).map_err(|error| status::of(&error)));
        Ok(Response::new(Box::pin(entries)))
    }

    async fn wait(
        &self,
        request: Request<agent::WaitContainerRequest>,
    ) -> Answer<agent::WaitContainerResponse> {
        let exit = self
            .node
            .wait_container(OWNER, &request.get_ref().container)
            .await;
        let exit = exit.map_err(|error| status::of(&error))?;
        Ok(Response::new(agent::WaitContainerResponse {
            exit_code: exit.code,
            error: exit.message,
        }))
    }

    type AttachStream = Streamed<agent::StreamOutput>;

    async fn attach(
        &self,
        request: Request<Streaming<agent::AttachInput>>,
    ) -> Answer<Self::AttachStream> {
        let outputs = self.open_attach(request.into_inner()).await?;
        Ok(Response::new(Box::pin(ReceiverStream::new(outputs))))
    }

    type ExecStream = Streamed<agent::StreamOutput>;

    async fn exec(
        &self,
        request: Request<Streaming<agent::ExecInput>>,
    ) -> Answer<Self::ExecStream> {
        let outputs = self.open_exec(request.into_inner()).await?;
        Ok(Response::new(Box::pin(ReceiverStream::new(outputs))))
    }

    type ForwardStream = Streamed<agent::ForwardOutput>;

    async fn forward(
        &self,
        request: Request<Streaming<agent::ForwardInput>>,
    ) -> Answer<Self::ForwardStream> {
        let outputs = self.open_forward(request.into_inner()).await?;
        Ok(Response::new(Box::pin(ReceiverStream::new(outputs))))
    }

    async fn resize(
        &self,
        request: Request<agent::ResizeRequest>,
    ) -> Answer<agent::ResizeResponse> {
        let request = request.into_inner();
        let (rows, columns) = local::size_of(&request.size.unwrap_or_default());
        let resized = self
            .node
            .resize(OWNER, &request.container, rows, columns)
            .await;
        resized.map_err(|error| status::of(&error))?;
        Ok(Response::new(agent::ResizeResponse {}))
    }
}
