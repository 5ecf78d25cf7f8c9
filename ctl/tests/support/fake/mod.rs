//! An agent that only pretends: it keeps what a test gives it and writes down what it is asked.

mod containers;
mod images;
mod process;
mod streams;
mod system;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use proto::agent::containers_server::ContainersServer;
use proto::agent::images_server::ImagesServer;
use proto::agent::system_server::SystemServer;
use proto::agent::{
    ContainerSpec, Event, InspectContainerResponse, InspectImageResponse, PullProgress, StreamKind,
};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Code, Status};

pub(crate) use process::{AttachEnd, Behaviour, FakeContainer};

/// How long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// What the agent knows, and what it has been asked.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) containers: Vec<FakeContainer>,
    pub(crate) images: Vec<InspectImageResponse>,
    /// What pulling an image shows; the image is there afterwards.
    pub(crate) pulls: HashMap<String, Vec<PullProgress>>,
    pub(crate) events: Vec<Event>,
    pub(crate) created: Vec<ContainerSpec>,
    /// What containers and processes that are made do, and write.
    pub(crate) behaviour: Option<Behaviour>,
    pub(crate) output: Vec<(StreamKind, &'static [u8])>,
    pub(crate) attach_end: AttachEnd,
    failures: HashMap<&'static str, Status>,
    requests: Vec<String>,
}

impl Fake {
    /// Adds a container that is known.
    pub(crate) fn container(&mut self, answer: InspectContainerResponse) -> &mut FakeContainer {
        self.containers.push(FakeContainer::new(answer));
        self.containers.last_mut().expect("just added")
    }

    /// Lets every request of a method fail.
    pub(crate) fn fail(&mut self, method: &'static str, status: Status) {
        self.failures.insert(method, status);
    }

    /// Lets a start or an exec fail as that of a program that cannot be executed.
    pub(crate) fn fail_program(&mut self, method: &'static str, code: &str, message: &str) {
        let mut status = Status::new(Code::FailedPrecondition, message);
        status
            .metadata_mut()
            .insert("exit-code", code.parse().expect("ASCII"));
        self.fail(method, status);
    }

    fn find(&mut self, name: &str) -> Result<&mut FakeContainer, Status> {
        let found = self.containers.iter_mut().find(|container| {
            let container = container.container();
            container.name == name || (!name.is_empty() && container.id.starts_with(name))
        });
        found.ok_or_else(|| Status::not_found(format!("container {name} does not exist")))
    }
}

/// The agent's knowledge, shared with its test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<(Mutex<Fake>, Condvar)>);

impl Shared {
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Fake) -> T) -> T {
        act(&mut self.0.0.lock().expect("no test panics inside"))
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.with(|fake| fake.requests.clone())
    }

    /// Waits until `request` has been made.
    pub(crate) fn wait_for(&self, request: &str) {
        let until = Instant::now() + DEADLINE;
        let (fake, changed) = &*self.0;
        let mut fake = fake.lock().expect("no test panics inside");
        while !fake.requests.iter().any(|known| known == request) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{request:?} never came: {:#?}",
                fake.requests
            );
            fake = changed
                .wait_timeout(fake, left)
                .expect("no test panics inside")
                .0;
        }
    }

    /// Writes a request down, and fails if its method is to fail.
    fn asked(&self, method: &'static str, what: impl AsRef<str>) -> Result<(), Status> {
        self.note(format!("{method} {}", what.as_ref()).trim_end().to_owned());
        self.with(|fake| fake.failures.get(method).cloned().map_or(Ok(()), Err))
    }

    fn note(&self, request: String) {
        self.with(|fake| fake.requests.push(request));
        self.0.1.notify_all();
    }
}

/// Serves `fake` at `socket` until the returned end is dropped.
pub(super) fn serve(fake: Fake, socket: &Path) -> (Shared, oneshot::Sender<()>) {
    let shared = Shared(Arc::new((Mutex::new(fake), Condvar::new())));
    let (stop, stopped) = oneshot::channel();
    // Bound before the test goes on, so that no connection is refused.
    let listener = std::os::unix::net::UnixListener::bind(socket).expect("a free socket");
    listener.set_nonblocking(true).expect("a socket");
    let state = shared.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async move {
            let listener = UnixListener::from_std(listener).expect("a listener");
            tonic::transport::Server::builder()
                .add_service(ContainersServer::new(state.clone()))
                .add_service(ImagesServer::new(state.clone()))
                .add_service(SystemServer::new(state))
                .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async {
                    let _ = stopped.await;
                })
                .await
                .expect("serves");
        });
    });
    (shared, stop)
}
