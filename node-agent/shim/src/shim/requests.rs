//! Answering the agent's requests: find what is named, ask whether its state allows it, do it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use agent_runtime::{Onlookers, Opened, StartError};
use agent_types::time::nanoseconds;
use agent_types::{ContainerId, ExecId};
use proto_shim::{
    Attach, CreateContainer, Created, Done, Exec, ExecStarted, FdRole, NamespaceMode, Resize,
    SignalContainer, Started, reply, request::Call,
};

use super::Shim;
use super::runtimes::Work;
use crate::connection::Received;
use crate::container::create::{Progress, create, dimension};
use crate::container::{Container, Phase};
use crate::descriptors::Descriptors;
use crate::error::{RequestError, chain};
use crate::exec;
use crate::pipes::Status;

/// What a request is answered with.
pub(super) type Answer = (reply::Result, Vec<(FdRole, OwnedFd)>);

/// What docker and CRI report of a program that could not be executed.
const START_FAILED: i32 = 128;

pub(super) fn done() -> Result<Answer, RequestError> {
    Ok((reply::Result::Done(Done {}), Vec::new()))
}

/// Tells since when a container's program runs.
pub(super) fn started(container: &Container) -> Answer {
    let started_at = container.started_at;
    (reply::Result::Started(Started { started_at }), Vec::new())
}

impl Shim {
    pub(super) fn serve_request(&mut self, received: Received) {
        let Received {
            request,
            descriptors,
        } = received;
        let id = request.id;
        if matches!(request.call, Some(Call::Shutdown(_))) {
            self.shut_down(id);
            return;
        }
        let answer = descriptors.and_then(|descriptors| match request.call {
            Some(call) => self.call(id, call, descriptors),
            None => Err(RequestError::Malformed {
                what: "this shim does not know the call",
            }),
        });
        if let Some(answer) = answer.transpose() {
            self.answer(id, answer);
        }
    }

    /// Answers a request with what came of it.
    pub(super) fn answer(&mut self, id: u64, answer: Result<Answer, RequestError>) {
        match answer {
            Ok((result, fds)) => self.reply(id, result, fds),
            Err(error) => self.reply(id, reply::Result::Error((&error).into()), Vec::new()),
        }
    }

    /// Does what is asked; `None`: another runtime is doing it, and the answer comes when it has.
    fn call(
        &mut self,
        id: u64,
        call: Call,
        descriptors: Descriptors,
    ) -> Result<Option<Answer>, RequestError> {
        match call {
            Call::CreateContainer(call) => self.create_container(id, &call, descriptors),
            Call::StartContainer(call) => self.start_container(id, &call.container_id),
            Call::DeleteContainer(call) => self.delete_container(id, &call.container_id),
            Call::Exec(call) => self.exec(id, &call, descriptors),
            call => self.call_at_once(call, descriptors).map(Some),
        }
    }

    fn call_at_once(
        &mut self,
        call: Call,
        descriptors: Descriptors,
    ) -> Result<Answer, RequestError> {
        match call {
            Call::SignalContainer(call) => self.signal_container(&call),
            Call::SignalExec(call) => {
                let index = self.session(&call.exec_id)?;
                let sent = self.sessions[index].signal(call.signal);
                sent.map_err(RequestError::kernel("signalling", &call.exec_id))?;
                done()
            }
            Call::DrainExec(call) => {
                let index = self.session(&call.exec_id)?;
                self.sessions[index].drain(&self.poll);
                done()
            }
            Call::Attach(call) => self.attach(&call, descriptors),
            Call::Resize(call) => self.resize(&call),
            Call::ReopenLog(call) => self.reopen_log(&call.container_id),
            Call::OpenRoot(call) => self.open_root(&call.container_id),
            Call::Hello(_)
            | Call::Shutdown(_)
            | Call::CreateContainer(_)
            | Call::StartContainer(_)
            | Call::DeleteContainer(_)
            | Call::Exec(_) => Err(RequestError::Malformed {
                what: "the call is out of place",
            }),
        }
    }

    fn container(&self, id: &str) -> Result<usize, RequestError> {
        self.containers
            .iter()
            .position(|container| container.id.as_str() == id)
            .ok_or_else(|| RequestError::NotFound {
                what: "container",
                id: id.to_owned(),
            })
    }

    fn session(&self, id: &str) -> Result<usize, RequestError> {
        self.sessions
            .iter()
            .position(|session| session.id.as_str() == id && !session.ended)
            .ok_or_else(|| RequestError::NotFound {
                what: "exec session",
                id: id.to_owned(),
            })
    }

    fn create_container(
        &mut self,
        request: u64,
        call: &CreateContainer,
        descriptors: Descriptors,
    ) -> Result<Option<Answer>, RequestError> {
        let id: ContainerId = call
            .container_id
            .parse()
            .map_err(|_| RequestError::Malformed {
                what: "the container id is none",
            })?;
        if self.container(id.as_str()).is_ok() || self.is_being_created(&id) {
            return Err(RequestError::Exists {
                what: "container",
                id: call.container_id.clone(),
            });
        }
        self.refuse_at_the_end()?;
        let target = self.pid_target(call)?;
        let shared = (&self.sandbox, target.map(|index| &self.containers[index]));
        let progress = create(
            call,
            id,
            descriptors,
            shared,
            &self.directory,
            &mut self.poll,
        )?;
        let target = target.map(|index| self.containers[index].serial);
        match progress {
            Progress::Made(container, created) => {
                Ok(Some(self.add_container(*container, created, target)))
            }
            Progress::Begun(unmade, creation) => {
                self.begin(
                    Some(request),
                    Work::Create {
                        creation,
                        unmade,
                        target,
                    },
                )?;
                Ok(None)
            }
        }
    }

    /// Takes up a container whose process waits; it may share the PID namespace of `target`.
    pub(super) fn add_container(
        &mut self,
        container: Container,
        created: Created,
        target: Option<u32>,
    ) -> Answer {
        if let Some(index) = target.and_then(|serial| self.index_of(serial)) {
            // The newcomer may be able to look into sessions that join the other one.
            self.containers[index].onlookers = Onlookers::Tracers;
        }
        self.containers.push(container);
        (reply::Result::Created(created), Vec::new())
    }

    /// Finds the container whose PID namespace another one is to share; it must be running.
    fn pid_target(&self, call: &CreateContainer) -> Result<Option<usize>, RequestError> {
        if call.pid_mode() != NamespaceMode::Join {
            return Ok(None);
        }
        let index = self.container(&call.pid_target)?;
        self.containers[index].require_running()?;
        Ok(Some(index))
    }

    /// Refuses what would keep a sandbox that is being ended alive.
    fn refuse_at_the_end(&self) -> Result<(), RequestError> {
        if self.shutdown.is_asked_for() {
            return Err(RequestError::State {
                what: "sandbox in",
                id: self.directory.path().display().to_string(),
                state: "being ended",
            });
        }
        Ok(())
    }

    fn start_container(&mut self, request: u64, id: &str) -> Result<Option<Answer>, RequestError> {
        let index = self.container(id)?;
        let container = &mut self.containers[index];
        let gate = match std::mem::replace(&mut container.phase, Phase::Running) {
            Phase::Created(gate) => gate,
            other => {
                container.phase = other;
                return Err(container.wrong_state());
            }
        };
        match gate.start() {
            Ok(Opened::Running(time)) => {
                container.started_at = nanoseconds(time);
                Ok(Some(started(container)))
            }
            Ok(Opened::Starting(starting)) => {
                // Another agent is told that it runs; if it does not, its end is told.
                container.started_at = nanoseconds(SystemTime::now());
                container.phase = Phase::Starting;
                let container = container.serial;
                let work = Work::Start {
                    starting,
                    container,
                };
                self.begin(Some(request), work)?;
                Ok(None)
            }
            Err(source) => Err(self.not_started(index, source)),
        }
    }

    /// Ends a container whose program does not run.
    pub(super) fn not_started(&mut self, index: usize, source: StartError) -> RequestError {
        let container = &mut self.containers[index];
        let _ = container.signal(9);
        container.wait();
        let status = Status::exited(START_FAILED);
        container.process_ended(status, chain(&source));
        let id = container.id.to_string();
        self.settle(index);
        RequestError::Start { id, source }
    }

    fn signal_container(&mut self, call: &SignalContainer) -> Result<Answer, RequestError> {
        let index = self.container(&call.container_id)?;
        let container = &mut self.containers[index];
        if !container.is_alive() {
            return Err(container.wrong_state());
        }
        let kill = call.signal == 9;
        if call.all && kill {
            container.kill();
        } else if call.all {
            container.cgroup.signal(call.signal);
        } else {
            container
                .signal(call.signal)
                .map_err(RequestError::kernel("signalling", &call.container_id))?;
            if kill {
                container.cgroup.thaw();
            }
        }
        done()
    }

    fn delete_container(&mut self, request: u64, id: &str) -> Result<Option<Answer>, RequestError> {
        let index = self.container(id)?;
        match &self.containers[index].phase {
            Phase::Exited(_) => {}
            Phase::Created(_) => {
                self.containers[index].kill();
                self.containers[index].wait();
            }
            Phase::Starting | Phase::Running | Phase::Ended(_) => {
                return Err(self.containers[index].wrong_state());
            }
        }
        let mut container = self.containers.swap_remove(index);
        container.stdio.close(&self.poll);
        self.clients.end_container(container.serial, &self.poll);
        self.directory.remove_exit(id);
        if self.begin_to_forget(Some(request), &mut container) {
            return Ok(None);
        }
        done().map(Some)
    }

    fn exec(
        &mut self,
        request: u64,
        call: &Exec,
        descriptors: Descriptors,
    ) -> Result<Option<Answer>, RequestError> {
        let id: ExecId = call.exec_id.parse().map_err(|_| RequestError::Malformed {
            what: "the exec id is none",
        })?;
        if self.sessions.iter().any(|session| session.id == id) || self.is_being_executed(&id) {
            return Err(RequestError::Exists {
                what: "exec session",
                id: call.exec_id.clone(),
            });
        }
        self.refuse_at_the_end()?;
        let index = self.container(&call.container_id)?;
        self.containers[index].require_running()?;
        if self.containers[index].cgroup.is_frozen() {
            // A process that joins would stop before it could answer, and this loop with it.
            return Err(RequestError::State {
                what: "container",
                id: call.container_id.clone(),
                state: "paused",
            });
        }
        let progress = exec::start(
            call,
            id,
            descriptors,
            (&self.containers[index], self.sandbox.user()),
            &self.home,
            &mut self.poll,
        )?;
        match progress {
            exec::Progress::Started(started) => Ok(Some(self.add_session(started))),
            exec::Progress::Begun(unstarted, execution) => {
                let work = Work::Exec {
                    execution,
                    unstarted,
                };
                self.begin(Some(request), work)?;
                Ok(None)
            }
        }
    }

    /// Takes up a session whose program runs.
    pub(super) fn add_session(&mut self, started: exec::Started) -> Answer {
        let exec::Started {
            session,
            terminal,
            onlookers,
        } = started;
        if onlookers == Onlookers::Tracers
            && let Some(index) = self.index_of(session.container)
        {
            self.containers[index].onlookers = Onlookers::Tracers;
        }
        let pid = session.pid;
        self.sessions.push(session);
        let terminal = terminal.map(|master| (FdRole::Terminal, master));
        (
            reply::Result::ExecStarted(ExecStarted { pid }),
            terminal.into_iter().collect(),
        )
    }

    fn attach(
        &mut self,
        call: &Attach,
        mut descriptors: Descriptors,
    ) -> Result<Answer, RequestError> {
        let index = self.container(&call.container_id)?;
        let container: &Container = &self.containers[index];
        if !container.is_alive() {
            return Err(container.wrong_state());
        }
        if self.clients.is_full() {
            return Err(RequestError::State {
                what: "container",
                id: call.container_id.clone(),
                state: "attached to by as many clients as can be",
            });
        }
        let stdin = descriptors
            .take(FdRole::StdinRead)
            .filter(|_| container.stdio.has_input());
        let outputs = [FdRole::StdoutWrite, FdRole::StderrWrite].map(|role| descriptors.take(role));
        let input = container.stdio.input_state();
        self.clients
            .add(container.serial, stdin, outputs, input, &mut self.poll)
            .map_err(RequestError::kernel("attaching", &call.container_id))?;
        done()
    }

    fn resize(&mut self, call: &Resize) -> Result<Answer, RequestError> {
        let (rows, columns) = (dimension(call.rows), dimension(call.columns));
        let (id, resized) = if call.exec_id.is_empty() {
            let container = &self.containers[self.container(&call.container_id)?];
            (&call.container_id, container.stdio.resize(rows, columns))
        } else {
            let session = &self.sessions[self.session(&call.exec_id)?];
            (&call.exec_id, session.resize(rows, columns))
        };
        resized
            .ok_or_else(|| RequestError::State {
                what: "process of",
                id: id.clone(),
                state: "without a terminal",
            })?
            .map_err(RequestError::kernel("resizing", id))?;
        done()
    }

    fn reopen_log(&mut self, id: &str) -> Result<Answer, RequestError> {
        let index = self.container(id)?;
        let container = &mut self.containers[index];
        if let Some(file) = &mut container.log.file {
            file.reopen().map_err(|source| RequestError::Log {
                id: id.to_owned(),
                source,
            })?;
        } else if !container.is_alive() {
            return Err(container.wrong_state());
        }
        done()
    }

    fn open_root(&mut self, id: &str) -> Result<Answer, RequestError> {
        let container = &self.containers[self.container(id)?];
        container.require_running()?;
        let pidfd = container.pidfd()?;
        let alive = || {
            agent_sys::signal::send(pidfd, 0)
                .map_err(RequestError::kernel("finding the process", id))
        };
        // The id can belong to another process only if this one has been reaped in between.
        alive()?;
        let root = File::open(format!("/proc/{}/root", container.pid))
            .map_err(RequestError::kernel("opening the root", id))?;
        alive()?;
        Ok((
            reply::Result::Done(Done {}),
            vec![(FdRole::RootDirectory, root.into())],
        ))
    }
}
