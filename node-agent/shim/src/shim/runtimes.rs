//! What other runtimes and hooks are doing, and what is done when they have: nobody waits for them.
//!
//! While one is at work, only children that are known are waited for: what it leaves behind is
//! found by a number, which must not be another's by then, however soon it has ended.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Instant;

use agent_runtime::{Creation, Deletion, Ending, Execution, Failure, Starting};
use agent_types::{ContainerId, ExecId};
use proto_shim::{ExecStarted, HookFailed, from_shim::Message, reply};
use rustix::process::Pid;

use super::Shim;
use super::requests::{Answer, done, started};
use crate::container::create::Unmade;
use crate::container::exit::Forgetting;
use crate::container::{Container, Phase};
use crate::error::{RequestError, chain};
use crate::exec::Unstarted;
use crate::poll::{Interest, Kind, Token};

/// Something that another runtime was asked for.
#[derive(Debug)]
pub(super) enum Work {
    Create {
        creation: Creation,
        unmade: Box<Unmade>,
        /// Serial of the container whose PID namespace it shares.
        target: Option<u32>,
    },
    Start {
        starting: Starting,
        /// Serial of the container.
        container: u32,
    },
    Exec {
        execution: Execution,
        unstarted: Unstarted,
    },
    Delete {
        deletion: Deletion,
        /// Serial of the container.
        container: u32,
    },
    /// The last hooks of a container that is gone.
    End {
        ending: Ending,
        /// Serial of the container.
        container: u32,
        id: ContainerId,
    },
}

/// Work under way.
#[derive(Debug)]
pub(super) struct Job {
    serial: u32,
    /// The request to answer; `None` when its agent has gone, or nobody has asked.
    request: Option<u64>,
    /// When the runtime is killed; `None`: it was.
    deadline: Option<Instant>,
    work: Work,
}

impl Work {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Create { creation, .. } => creation.fd(),
            Self::Start { starting, .. } => starting.fd(),
            Self::Exec { execution, .. } => execution.fd(),
            Self::Delete { deletion, .. } => deletion.fd(),
            Self::End { ending, .. } => ending.fd(),
        }
    }

    fn kill(&mut self) {
        match self {
            Self::Create { creation, .. } => creation.kill(),
            Self::Start { starting, .. } => starting.kill(),
            Self::Exec { execution, .. } => execution.kill(),
            Self::Delete { deletion, .. } => deletion.kill(),
            Self::End { ending, .. } => ending.kill(),
        }
    }

    /// Returns when the runtime is to be killed.
    fn deadline(&self) -> Instant {
        let patience = match self {
            Self::Create { creation, .. } => creation.patience(),
            Self::Start { starting, .. } => starting.patience(),
            Self::Exec { execution, .. } => execution.patience(),
            Self::Delete { deletion, .. } => deletion.patience(),
            Self::End { ending, .. } => ending.patience(),
        };
        let deadline = Instant::now() + patience;
        match self {
            Self::Exec { unstarted, .. } => unstarted
                .deadline()
                .map_or(deadline, |own| own.min(deadline)),
            _ => deadline,
        }
    }
}

impl Job {
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Its agent has gone.
    pub(super) fn forget_request(&mut self) {
        self.request = None;
    }
}

impl Shim {
    /// Follows what a runtime has begun; `request` is answered at its end.
    pub(super) fn begin(&mut self, request: Option<u64>, work: Work) -> Result<(), RequestError> {
        let serial = self.poll.serial();
        let token = Token::new(Kind::Runtime, serial);
        let watched = self.poll.add(work.fd(), token, Interest::Readable);
        let mut job = Job {
            serial,
            request,
            deadline: Some(work.deadline()),
            work,
        };
        if let Err(errno) = watched {
            job.work.kill();
            job.request = None;
            self.finish(job);
            return Err(RequestError::kernel("following a runtime", "the sandbox")(
                errno,
            ));
        }
        self.jobs.push(job);
        Ok(())
    }

    /// Goes on where a runtime has ended.
    pub(super) fn runtime_ended(&mut self, serial: u32) {
        let Some(index) = self.jobs.iter().position(|job| job.serial == serial) else {
            return;
        };
        let job = self.jobs.swap_remove(index);
        self.poll.remove(job.work.fd());
        self.finish(job);
        // What was left alone for it.
        self.reap_children();
    }

    /// Kills the runtimes that take too long; they are heard of again when they have ended.
    pub(super) fn time_out_runtimes(&mut self, now: Instant) {
        for job in &mut self.jobs {
            if job.deadline.is_some_and(|deadline| now >= deadline) {
                job.deadline = None;
                job.work.kill();
            }
        }
    }

    pub(super) fn is_being_created(&self, id: &ContainerId) -> bool {
        let mut works = self.jobs.iter().map(|job| &job.work);
        works.any(|work| matches!(work, Work::Create { unmade, .. } if unmade.id() == id))
    }

    pub(super) fn is_being_executed(&self, id: &ExecId) -> bool {
        let mut works = self.jobs.iter().map(|job| &job.work);
        works.any(|work| matches!(work, Work::Exec { unstarted, .. } if unstarted.id() == id))
    }

    fn finish(&mut self, job: Job) {
        let answer = match job.work {
            Work::Create {
                creation,
                unmade,
                target,
            } => {
                let wanted = job.request.is_some() && !self.shutdown.is_asked_for();
                self.finish_create(creation, *unmade, target, wanted)
            }
            Work::Start {
                starting,
                container,
            } => self.finish_start(starting, container),
            Work::Exec {
                execution,
                unstarted,
            } => {
                let wanted = job.request.is_some();
                if job.deadline.is_none() && unstarted.is_late() {
                    self.abandon_exec(execution, &unstarted, job.request);
                    return;
                }
                self.finish_exec(execution, unstarted, wanted)
            }
            Work::Delete { deletion, .. } => {
                // Its process is gone, and its cgroup and mounts go by themselves.
                let _ = deletion.finish();
                done()
            }
            Work::End { ending, id, .. } => {
                self.warn(&id, &ending.finish());
                done()
            }
        };
        if let Some(request) = job.request {
            self.answer(request, answer);
        }
    }

    /// Takes up a container; one that nobody wants any more was never promised to anybody.
    fn finish_create(
        &mut self,
        creation: Creation,
        unmade: Unmade,
        target: Option<u32>,
        wanted: bool,
    ) -> Result<Answer, RequestError> {
        let (mut container, created) = unmade.finish(creation.finish(), &mut self.poll)?;
        if wanted {
            return Ok(self.add_container(*container, created, target));
        }
        container.kill();
        container.wait();
        container.stdio.close(&self.poll);
        self.begin_to_forget(None, &mut container);
        Err(RequestError::State {
            what: "container",
            id: container.id.to_string(),
            state: "of a sandbox that is being ended",
        })
    }

    fn finish_start(&mut self, starting: Starting, serial: u32) -> Result<Answer, RequestError> {
        let index = self.index_of(serial).ok_or(RequestError::Malformed {
            what: "the container that was started is no more",
        })?;
        let container: &mut Container = &mut self.containers[index];
        // From here on its process is waited for.
        container.phase = Phase::Running;
        match starting.finish() {
            Ok(begun) => {
                container.started_at = begun.at.unwrap_or(container.started_at);
                let (answer, id) = (started(container), container.id.clone());
                self.warn(&id, &begun.warnings);
                Ok(answer)
            }
            Err(source) => Err(self.not_started(index, source)),
        }
    }

    /// Tells of hooks that failed and changed nothing.
    fn warn(&mut self, id: &ContainerId, failures: &[Failure]) {
        for failure in failures {
            self.report(Message::HookFailed(HookFailed {
                container_id: id.to_string(),
                message: chain(failure),
            }));
        }
    }

    /// Has a container forgotten by the runtime that has made it, and its last hooks run, once;
    /// `request` is answered then. `false`: there is nothing to wait for.
    pub(super) fn begin_to_forget(
        &mut self,
        request: Option<u64>,
        container: &mut Container,
    ) -> bool {
        let serial = container.serial;
        let is_under_way = |job: &&mut Job| match &job.work {
            Work::Delete { container, .. } | Work::End { container, .. } => *container == serial,
            Work::Create { .. } | Work::Start { .. } | Work::Exec { .. } => false,
        };
        if let Some(job) = self.jobs.iter_mut().find(is_under_way) {
            job.request = request.or(job.request);
            return true;
        }
        let id = container.id.clone();
        let work = match container.forget() {
            None => return false,
            Some(Forgetting::Other(deletion)) => Work::Delete {
                deletion,
                container: serial,
            },
            Some(Forgetting::Hooks(ending)) => Work::End {
                ending,
                container: serial,
                id,
            },
        };
        // Where it cannot be followed, it was killed.
        self.begin(request, work).is_ok()
    }

    fn finish_exec(
        &mut self,
        execution: Execution,
        unstarted: Unstarted,
        wanted: bool,
    ) -> Result<Answer, RequestError> {
        let mut started = unstarted.finish(execution.finish(), &mut self.poll)?;
        if !wanted {
            started.session.end_input();
            started.session.drain(&self.poll);
        }
        Ok(self.add_session(started))
    }

    /// Ends a session whose time was up before the runtime had made it.
    fn abandon_exec(&mut self, execution: Execution, unstarted: &Unstarted, request: Option<u64>) {
        if let Ok(execed) = execution.finish() {
            let _ = agent_sys::signal::send(execed.pidfd.as_fd(), 9);
        }
        let Some(request) = request else { return };
        let begun = ExecStarted { pid: 0 };
        self.reply(request, reply::Result::ExecStarted(begun), Vec::new());
        self.report(Message::ExecExited(unstarted.timed_out()));
    }

    /// Waits for the children that are known and have ended.
    pub(super) fn reap_known(&mut self) {
        let containers = self.containers.iter();
        let containers = containers
            .filter(|one| one.is_alive() && !matches!(one.phase, Phase::Starting))
            .map(|one| one.pid);
        let sessions = self.sessions.iter().filter(|one| !one.ended);
        let known: Vec<i32> = containers.chain(sessions.map(|one| one.pid)).collect();
        for pid in known.into_iter().filter_map(Pid::from_raw) {
            self.reap(Some(pid));
        }
    }
}
