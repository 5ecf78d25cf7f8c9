//! Verbs on containers and the processes in them.

use std::sync::Arc;
use std::time::Duration;

use agent_cgroup::Limits;
use agent_shim_client::{Attach, Attachment, SignalTarget, TerminalSize};
use agent_types::{ContainerId, Owner};
use tokio::sync::oneshot;

use super::Node;
use super::index::Found;
use super::sandboxes::ask;
use crate::container::restart::{RestartPolicy, Wish};
use crate::container::spec::ContainerSpec;
use crate::container::state::{ContainerState, Exit};
use crate::container::{
    AttachError, Change, CreateError, RemoveError, ReopenError, ResizeError, StartError, StopError,
    UpdateError,
};
use crate::exec::session::{self, Session};
use crate::exec::sync::ExecOutput;
use crate::exec::{ExecError, ExecSpec, Target, sync};
use crate::sandbox::actor::message::Command;
use crate::sandbox::actor::{Removal, SandboxHandle};
use crate::sandbox::view::{ContainerView, SandboxView};

/// A container and the sandbox it is in, as they were at some moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The container.
    pub container: ContainerView,
    /// Its sandbox.
    pub sandbox: Arc<SandboxView>,
}

/// Streams that are being connected.
#[derive(Debug)]
pub struct Attaching {
    /// The container.
    pub container: ContainerId,
    answer: oneshot::Receiver<Result<Attachment, Arc<AttachError>>>,
}

impl Attaching {
    /// Waits until the streams are connected.
    ///
    /// # Errors
    /// When the container has ended, or is removed without having run.
    pub async fn connected(self) -> Result<Attachment, Arc<AttachError>> {
        let gone = || {
            Err(Arc::new(AttachError::NotRunning {
                id: self.container.clone(),
            }))
        };
        self.answer.await.unwrap_or_else(|_| gone())
    }
}

/// SIGKILL.
const KILL: i32 = 9;

impl Node {
    pub(super) fn find(&self, owner: Owner, text: &str) -> Found<(ContainerId, SandboxHandle)> {
        if owner == Owner::Local
            && let Some(handle) = self.index.local_by_name(text)
        {
            let first = handle
                .view()
                .containers
                .first()
                .map(|container| container.record.id.clone());
            return first.map_or(Found::None, |id| Found::One((id, handle)));
        }
        self.index.container(owner, text)
    }

    /// Creates a container in a sandbox, up to its program's first instruction, and returns its
    /// id. A repeated request attaches to the one in flight, or returns the id of the first.
    ///
    /// # Errors
    /// What was refused or failed; nothing is left behind then.
    pub async fn create_container(
        &self,
        owner: Owner,
        sandbox: &str,
        spec: ContainerSpec,
    ) -> Result<ContainerId, Arc<CreateError>> {
        let missing = || CreateError::NoSandbox {
            sandbox: sandbox.to_owned(),
        };
        let Found::One(handle) = self.index.sandbox(owner, sandbox) else {
            return Err(Arc::new(missing()));
        };
        let id = new_container_id(&spec)?;
        ask(&handle, |reply| Command::CreateContainer {
            id,
            spec: Box::new(spec),
            reply,
        })
        .await
        .ok_or_else(missing)?
    }

    /// Runs a container's program.
    ///
    /// # Errors
    /// [`StartError::Program`] when it cannot be executed: the container has ended then.
    pub async fn start_container(&self, owner: Owner, id: &str) -> Result<(), Arc<StartError>> {
        let not_found = || StartError::NotFound { id: id.to_owned() };
        let (container, handle) = match self.find(owner, id) {
            Found::One(found) => found,
            Found::None => return Err(Arc::new(not_found())),
            Found::Many => return Err(Arc::new(StartError::Ambiguous { id: id.to_owned() })),
        };
        self.note(&handle, &container, Wish::Run)
            .await
            .map_err(|source| Arc::new(StartError::Wish(source)))?;
        ask(&handle, |reply| Command::StartContainer {
            id: container,
            reply,
        })
        .await
        .ok_or_else(not_found)?
    }

    fn stoppable(&self, owner: Owner, id: &str) -> Result<(ContainerId, SandboxHandle), StopError> {
        match self.find(owner, id) {
            Found::One(found) => Ok(found),
            Found::None => Err(StopError::NotFound { id: id.to_owned() }),
            Found::Many => Err(StopError::Ambiguous { id: id.to_owned() }),
        }
    }

    /// Asks a container to end, and kills it when `grace` has passed; returns when it has ended.
    /// May be repeated; a shorter grace shortens a stop that is under way.
    ///
    /// # Errors
    /// [`StopError::NotFound`] and [`StopError::Ambiguous`].
    pub async fn stop_container(
        &self,
        owner: Owner,
        id: &str,
        signal: Option<i32>,
        grace: Option<Duration>,
    ) -> Result<(), Arc<StopError>> {
        let (container, handle) = self.stoppable(owner, id)?;
        self.note(&handle, &container, Wish::Rest).await?;
        let grace = grace.unwrap_or_else(|| {
            handle
                .view()
                .container(&container)
                .map_or(Duration::ZERO, |view| view.record.spec.stop_timeout)
        });
        ask(&handle, |reply| Command::StopContainer {
            id: container,
            signal,
            grace,
            reply,
        })
        .await
        .unwrap_or(Ok(()))
    }

    /// Has what a person asks of a container with a policy noted, before it is done.
    async fn note(
        &self,
        handle: &SandboxHandle,
        container: &ContainerId,
        wish: Wish,
    ) -> Result<(), Arc<StopError>> {
        let view = handle.view();
        let policy = view
            .container(container)
            .map(|seen| seen.record.spec.restart);
        if policy.is_none_or(|policy| policy == RestartPolicy::Never) {
            return Ok(());
        }
        let id = container.clone();
        // Who is gone needs no note.
        ask(handle, |reply| Command::Wish { id, wish, reply })
            .await
            .unwrap_or(Ok(()))
    }

    /// Sends a signal to a container's main process. After one that is to end it, it is not
    /// started again by itself.
    ///
    /// # Errors
    /// [`StopError::NotRunning`] when there is none.
    pub async fn signal_container(
        &self,
        owner: Owner,
        id: &str,
        signal: i32,
    ) -> Result<(), Arc<StopError>> {
        let (container, handle) = self.stoppable(owner, id)?;
        let view = handle.view();
        let seen = view.container(&container);
        let running = seen.is_some_and(|seen| matches!(seen.state, ContainerState::Running { .. }));
        let ends = signal == KILL || seen.is_some_and(|seen| seen.record.stop_signal == signal);
        let restarting = seen.is_some_and(|seen| seen.restarting);
        if ends && (running || restarting) {
            self.note(&handle, &container, Wish::Rest).await?;
        }
        if ends && restarting {
            return Ok(());
        }
        let Some(live) = view.live.as_ref().filter(|_| running) else {
            return Err(Arc::new(StopError::NotRunning { id: container }));
        };
        live.shim
            .signal_container(&container, signal, SignalTarget::First)
            .await
            .map_err(|source| {
                Arc::new(StopError::Shim {
                    id: container,
                    source: Arc::new(source),
                })
            })
    }

    /// Removes a container; with `force` also one that runs.
    ///
    /// # Errors
    /// [`RemoveError::Running`] without `force`, or what could not be removed.
    pub async fn remove_container(
        &self,
        owner: Owner,
        id: &str,
        force: bool,
    ) -> Result<ContainerId, Arc<RemoveError>> {
        let (container, handle) = match self.find(owner, id) {
            Found::One(found) => found,
            Found::None => {
                return Err(Arc::new(RemoveError::NotFound { id: id.to_owned() }));
            }
            Found::Many => {
                return Err(Arc::new(RemoveError::Ambiguous { id: id.to_owned() }));
            }
        };
        let removal = if force {
            Removal::Forced
        } else {
            Removal::Ended
        };
        ask(&handle, |reply| Command::RemoveContainer {
            id: container.clone(),
            removal,
            reply,
        })
        .await
        .unwrap_or(Ok(()))?;
        Ok(container)
    }

    /// Returns what can be seen of a container.
    ///
    /// # Errors
    /// [`StopError::NotFound`] and [`StopError::Ambiguous`].
    pub fn container(&self, owner: Owner, id: &str) -> Result<Seen, StopError> {
        let (container, handle) = self.stoppable(owner, id)?;
        let sandbox = handle.view();
        let container = sandbox
            .container(&container)
            .cloned()
            .ok_or_else(|| StopError::NotFound { id: id.to_owned() })?;
        Ok(Seen { container, sandbox })
    }

    /// Returns what can be seen of all of an owner's containers; never waits for any of them.
    #[must_use]
    pub fn containers(&self, owner: Owner) -> Vec<Seen> {
        let mut all = Vec::new();
        for handle in self.index.sandboxes(Some(owner)) {
            let sandbox = handle.view();
            all.extend(sandbox.containers.iter().map(|container| Seen {
                container: container.clone(),
                sandbox: Arc::clone(&sandbox),
            }));
        }
        all
    }

    /// Returns how a container's present or next run ends, once it has.
    ///
    /// # Errors
    /// [`StopError::NotFound`], also when it is removed without having run.
    pub async fn wait_container(&self, owner: Owner, id: &str) -> Result<Exit, StopError> {
        let (container, handle) = self.stoppable(owner, id)?;
        let (reply, exit) = oneshot::channel();
        let command = Command::WaitContainer {
            id: container,
            reply,
        };
        let not_found = || StopError::NotFound { id: id.to_owned() };
        handle
            .commands
            .send(command.into())
            .await
            .map_err(|_| not_found())?;
        exit.await.map_err(|_| not_found())
    }

    /// Connects streams to a container's main process. The answer comes once they are connected:
    /// for a container that is not started yet, when it is, before its program runs.
    ///
    /// # Errors
    /// When there is no such container.
    pub async fn attach(
        &self,
        owner: Owner,
        id: &str,
        streams: Attach,
    ) -> Result<Attaching, Arc<AttachError>> {
        let find = |source| Arc::new(AttachError::Find { source });
        let (container, handle) = self.stoppable(owner, id).map_err(find)?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Attach {
            id: container.clone(),
            streams,
            reply,
        };
        let sent = handle.commands.send(command.into()).await;
        sent.map_err(|_| {
            Arc::new(AttachError::NotRunning {
                id: container.clone(),
            })
        })?;
        Ok(Attaching { container, answer })
    }

    /// Sets the size of a running container's terminal.
    ///
    /// # Errors
    /// [`ResizeError::NotRunning`], or what the shim said.
    pub async fn resize(
        &self,
        owner: Owner,
        id: &str,
        rows: u16,
        columns: u16,
    ) -> Result<(), ResizeError> {
        let seen = self
            .container(owner, id)
            .map_err(|source| ResizeError::Find { source })?;
        let id = seen.container.record.id.clone();
        let Some(live) = &seen.sandbox.live else {
            return Err(ResizeError::NotRunning { id });
        };
        live.shim
            .resize_container(&id, TerminalSize { rows, columns })
            .await
            .map_err(|source| ResizeError::Shim { id, source })
    }

    pub(super) fn target(&self, owner: Owner, id: &str) -> Result<Target, ExecError> {
        let seen = self.container(owner, id).map_err(|error| match error {
            StopError::Ambiguous { id } => ExecError::Ambiguous { id },
            _ => ExecError::NotFound { id: id.to_owned() },
        })?;
        let record = seen.container.record;
        let running = matches!(seen.container.state, ContainerState::Running { .. });
        match (&seen.sandbox.live, seen.container.template) {
            (Some(live), Some(template)) if running => Ok(Target {
                record,
                live: Arc::clone(live),
                template,
            }),
            _ => Err(ExecError::NotRunning {
                id: record.id.clone(),
            }),
        }
    }

    /// Runs a process in a container to its end and returns what it wrote.
    ///
    /// # Errors
    /// [`ExecError::TimedOut`] when it was killed for running too long.
    pub async fn exec_sync(
        &self,
        owner: Owner,
        id: &str,
        spec: ExecSpec,
    ) -> Result<ExecOutput, ExecError> {
        let target = self.target(owner, id)?;
        sync::run(Arc::clone(&self.services), target, spec).await
    }

    /// Runs a process in a container and returns its streams.
    ///
    /// # Errors
    /// [`ExecError::Program`] when it could not be executed.
    pub async fn exec(&self, owner: Owner, id: &str, spec: ExecSpec) -> Result<Session, ExecError> {
        let target = self.target(owner, id)?;
        session::open(&self.services, &target, &spec).await
    }

    /// Closes a container's log and opens it again by its name.
    ///
    /// # Errors
    /// [`ReopenError::NotRunning`], or what could not be opened.
    pub async fn reopen_log(&self, owner: Owner, id: &str) -> Result<(), ReopenError> {
        let seen = self
            .container(owner, id)
            .map_err(|source| ReopenError::Find { source })?;
        let record = seen.container.record;
        let running = matches!(seen.container.state, ContainerState::Running { .. });
        let Some(live) = seen.sandbox.live.as_ref().filter(|_| running) else {
            return Err(ReopenError::NotRunning {
                id: record.id.clone(),
            });
        };
        let reopened = live.shim.reopen_log(&record.id).await;
        reopened.map_err(|source| ReopenError::Shim {
            id: record.id.clone(),
            source,
        })
    }

    /// Returns the limits in force: what its cgroup says while it has one, else what was asked for.
    pub async fn limits_in_force(&self, seen: &Seen) -> Limits {
        crate::container::update::in_force(&self.services, &seen.container).await
    }

    /// Changes what a container may use; what is left out stays. All or nothing.
    ///
    /// # Errors
    /// [`UpdateError::Limit`] for a limit that cannot hold.
    pub async fn update_resources(
        &self,
        owner: Owner,
        id: &str,
        change: Change,
    ) -> Result<(), Arc<UpdateError>> {
        let (container, handle) = self
            .stoppable(owner, id)
            .map_err(|source| UpdateError::Find { source })?;
        let view = handle.view();
        let gone = || UpdateError::Find {
            source: StopError::NotFound { id: id.to_owned() },
        };
        let seen = view.container(&container).ok_or_else(gone)?;
        crate::container::update::apply(&self.services, &seen.record, &seen.state, change.clone())
            .await?;
        let changed = ask(&handle, |reply| Command::Change {
            id: container,
            change: Box::new(change),
            reply,
        });
        changed.await.unwrap_or_else(|| Err(Arc::new(gone())))
    }
}

pub(super) fn new_container_id(spec: &ContainerSpec) -> Result<ContainerId, CreateError> {
    crate::random::bytes()
        .map(ContainerId::from_random)
        .map_err(|source| CreateError::Random {
            name: spec.metadata.name.clone(),
            source,
        })
}
