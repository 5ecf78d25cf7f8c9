use std::pin::Pin;

use proto::agent::attach_input::Input as AttachMessage;
use proto::agent::containers_server::Containers;
use proto::agent::exec_input::Input as ExecMessage;
use proto::agent::forward_input::Input as ForwardMessage;
use proto::agent::{
    AttachInput, Container, ContainerState, CreateContainerRequest, CreateContainerResponse,
    ExecInput, ForwardInput, ForwardOutput, InspectContainerRequest, InspectContainerResponse,
    KillContainerRequest, KillContainerResponse, ListContainersRequest, ListContainersResponse,
    LogEntry, LogsRequest, RemoveContainerRequest, RemoveContainerResponse, ResizeRequest,
    ResizeResponse, StartContainerRequest, StartContainerResponse, StopContainerRequest,
    StopContainerResponse, StreamOutput, WaitContainerRequest, WaitContainerResponse,
};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::streams::{Seen, echo, ended, exec_line, run_exec, send_log, send_streams, take_input};
use super::{Behaviour, FakeContainer, Shared};

type Answer<T> = Result<Response<T>, Status>;
type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Containers for Shared {
    async fn create(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Answer<CreateContainerResponse> {
        let spec = request.into_inner().spec.unwrap_or_default();
        self.asked(
            "Create",
            format!("{} {}", spec.image, spec.command.join(" ")),
        )?;
        self.with(|fake| {
            let known = fake
                .images
                .iter()
                .filter_map(|answer| answer.image.as_ref());
            let wanted = format!("docker.io/library/{}:latest", spec.image);
            if !known
                .flat_map(|image| &image.tags)
                .any(|tag| *tag == wanted)
            {
                return Err(Status::not_found(format!(
                    "image {} does not exist",
                    spec.image
                )));
            }
            let id = format!("{:064x}", 0xabcd_ef01_u64 + fake.created.len() as u64);
            let name = if spec.name.is_empty() {
                format!("made_up_{}", fake.created.len())
            } else {
                spec.name.clone()
            };
            let container = Container {
                id: id.clone(),
                name: name.clone(),
                image: spec.image.clone(),
                state: ContainerState::Created.into(),
                ..Default::default()
            };
            fake.created.push(spec.clone());
            let behaviour = fake.behaviour.clone().unwrap_or(Behaviour::Ends(0));
            let answer = InspectContainerResponse {
                container: Some(container),
                spec: Some(spec),
                ..Default::default()
            };
            fake.container(answer).behaviour = behaviour;
            Ok(Response::new(CreateContainerResponse {
                id,
                name,
                warnings: Vec::new(),
            }))
        })
    }

    async fn start(
        &self,
        request: Request<StartContainerRequest>,
    ) -> Answer<StartContainerResponse> {
        let name = request.into_inner().container;
        self.asked("Start", &name)?;
        self.with(|fake| {
            let output = fake.output.clone();
            let container = fake.find(&name)?;
            for (stream, data) in output {
                container.write(stream, data);
            }
            container.exit.send_replace(None);
            container.started.send_replace(true);
            if let Behaviour::Ends(code) = container.behaviour {
                container.exit.send_replace(Some(code));
            }
            Ok(Response::new(StartContainerResponse {
                id: container.container().id,
            }))
        })
    }

    async fn stop(&self, request: Request<StopContainerRequest>) -> Answer<StopContainerResponse> {
        let request = request.into_inner();
        let timeout = request
            .timeout
            .map_or(String::new(), |timeout| format!(" timeout={timeout}"));
        let signal = if request.signal.is_empty() {
            String::new()
        } else {
            format!(" signal={}", request.signal)
        };
        self.asked("Stop", format!("{}{timeout}{signal}", request.container))?;
        self.with(|fake| {
            fake.find(&request.container)
                .map(|_| Response::new(StopContainerResponse {}))
        })
    }

    async fn kill(&self, request: Request<KillContainerRequest>) -> Answer<KillContainerResponse> {
        let request = request.into_inner();
        self.asked("Kill", format!("{} {}", request.container, request.signal))?;
        self.with(|fake| {
            let container = fake.find(&request.container)?;
            let code = match request.signal.as_str() {
                "SIGUSR1" => return Ok(Response::new(KillContainerResponse {})),
                "SIGINT" => 130,
                "SIGTERM" => 143,
                _ => 137,
            };
            container.exit.send_replace(Some(code));
            Ok(Response::new(KillContainerResponse {}))
        })
    }

    async fn remove(
        &self,
        request: Request<RemoveContainerRequest>,
    ) -> Answer<RemoveContainerResponse> {
        let request = request.into_inner();
        self.asked(
            "Remove",
            format!("{} force={}", request.container, request.force),
        )?;
        self.with(|fake| {
            let id = fake.find(&request.container)?.container().id;
            fake.containers
                .retain(|container| container.container().id != id);
            Ok(Response::new(RemoveContainerResponse { id }))
        })
    }

    async fn list(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Answer<ListContainersResponse> {
        let request = request.into_inner();
        self.asked("List", &request.ancestor)?;
        let wanted = |container: &Container| {
            let state = container.state;
            let by_state = match request.states.as_slice() {
                [] => request.all || state == i32::from(ContainerState::Running),
                states => states.contains(&state),
            };
            let labelled = |(key, value): (&String, &String)| {
                container
                    .labels
                    .get(key)
                    .is_some_and(|known| value.is_empty() || known == value)
            };
            by_state
                && request.labels.iter().all(labelled)
                && (request.ancestor.is_empty() || container.image == request.ancestor)
        };
        let containers = self.with(|fake| {
            fake.containers
                .iter()
                .map(FakeContainer::container)
                .filter(wanted)
                .collect()
        });
        Ok(Response::new(ListContainersResponse { containers }))
    }

    async fn inspect(
        &self,
        request: Request<InspectContainerRequest>,
    ) -> Answer<InspectContainerResponse> {
        let name = request.into_inner().container;
        self.asked("Inspect", &name)?;
        self.with(|fake| Ok(Response::new(fake.find(&name)?.answer.clone())))
    }

    type LogsStream = Out<LogEntry>;

    async fn logs(&self, request: Request<LogsRequest>) -> Answer<Self::LogsStream> {
        let request = request.into_inner();
        let since = if request.since == 0 {
            String::new()
        } else {
            " since".into()
        };
        let tail = request
            .tail
            .map_or(String::new(), |tail| format!(" tail={tail}"));
        self.asked(
            "Logs",
            format!(
                "{} follow={}{tail}{since}",
                request.container, request.follow
            ),
        )?;
        let (log, exit) = self.with(|fake| {
            let container = fake.find(&request.container)?;
            Ok::<_, Status>((container.log.subscribe(), container.exit.subscribe()))
        })?;
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(send_log(request, log, exit, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn wait(&self, request: Request<WaitContainerRequest>) -> Answer<WaitContainerResponse> {
        let name = request.into_inner().container;
        self.asked("Wait", &name)?;
        let mut exit = self.with(|fake| Ok::<_, Status>(fake.find(&name)?.exit.subscribe()))?;
        let exit_code = ended(&mut exit).await;
        Ok(Response::new(WaitContainerResponse {
            exit_code,
            error: String::new(),
        }))
    }

    type AttachStream = Out<StreamOutput>;

    async fn attach(&self, request: Request<Streaming<AttachInput>>) -> Answer<Self::AttachStream> {
        let mut input = request.into_inner();
        let Some(AttachMessage::Start(start)) =
            input.message().await?.and_then(|message| message.input)
        else {
            return Err(Status::invalid_argument("the first message is no start"));
        };
        let streams = [
            ("stdin", start.stdin),
            ("stdout", start.stdout),
            ("stderr", start.stderr),
        ];
        let streams: Vec<_> = streams
            .iter()
            .filter(|(_, on)| *on)
            .map(|(name, _)| *name)
            .collect();
        let name = start.container.clone();
        // Before the test hears of it, so that it sees all that the test does next.
        let seen = self.with(|fake| {
            let end = fake.attach_end;
            fake.find(&name).map(|container| Seen::now(container, end))
        });
        self.asked("Attach", format!("{name} {}", streams.join(",")))?;
        let seen = seen?;
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(take_input(self.clone(), name, input));
        tokio::spawn(send_streams(seen, start, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    type ExecStream = Out<StreamOutput>;

    async fn exec(&self, request: Request<Streaming<ExecInput>>) -> Answer<Self::ExecStream> {
        let mut input = request.into_inner();
        let Some(ExecMessage::Start(start)) =
            input.message().await?.and_then(|message| message.input)
        else {
            return Err(Status::invalid_argument("the first message is no start"));
        };
        self.asked("Exec", exec_line(&start))?;
        self.with(|fake| fake.find(&start.container).map(|_| ()))?;
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(run_exec(self.clone(), start, input, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    type ForwardStream = Out<ForwardOutput>;

    async fn forward(
        &self,
        request: Request<Streaming<ForwardInput>>,
    ) -> Answer<Self::ForwardStream> {
        let mut input = request.into_inner();
        let Some(ForwardMessage::Start(start)) =
            input.message().await?.and_then(|message| message.input)
        else {
            return Err(Status::invalid_argument("the first message is no start"));
        };
        self.asked("Forward", format!("{} {}", start.container, start.port))?;
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(echo(input, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn resize(&self, request: Request<ResizeRequest>) -> Answer<ResizeResponse> {
        self.asked("Resize", request.into_inner().container)?;
        Ok(Response::new(ResizeResponse {}))
    }
}
