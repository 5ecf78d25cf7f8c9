//! Containers of the sandbox.
//!
//! Owns: a container's life from the cloned first process to the written exit.
//! Does not: build the container (crate `agent-runtime`) or decide what may be asked when.
//!
//! ```text
//!  Created --start--> Running --process ends--> Ended --output drained--> Exited
//!     |  \              ^                         ^
//!     |   +-> Starting -+ (another runtime) ------+
//!     +------- start fails, or it is killed ------+
//! ```
//!
//! Start reading at [`create`] and [`exit`].

pub(crate) mod create;
pub(crate) mod exit;
pub(crate) mod stdio;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use agent_runtime::{External, Hooked, StartGate};
use agent_types::ContainerId;
use proto_shim::{ContainerExited, ContainerReport};

use crate::cgroup::Cgroup;
use crate::error::RequestError;
use crate::log::Log;
use crate::pipes::{self, Status};
use stdio::Stdio;

const SIGKILL: i32 = 9;

/// Where a container is in its life.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Its first process waits at the gate.
    Created(StartGate),
    /// Another runtime opens the gate; its process is not waited for until that has ended.
    Starting,
    /// Its program runs.
    Running,
    /// Its first process is gone; output may still be on the way.
    Ended(Ended),
    /// All is written down.
    Exited(ContainerExited),
}

/// What is known when the first process has ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) status: Status,
    /// Nanoseconds since the epoch.
    pub(crate) finished_at: i64,
    pub(crate) oom_killed: bool,
    /// Why the program could not be executed; empty otherwise.
    pub(crate) start_error: String,
    /// When to look again whether output or processes are left.
    pub(crate) next_look: Instant,
    /// When to stop waiting for them.
    pub(crate) deadline: Instant,
}

/// Whether a container's processes end with its first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PidNamespace {
    /// The kernel ends them: the first process is its namespace's.
    Own,
    /// The shim must: the namespace is the sandbox's or the host's.
    Shared,
}

/// One container.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) serial: u32,
    pub(crate) id: ContainerId,
    pub(crate) pid: i32,
    /// The first process; `None` once its end is written down, for who is dead costs nothing more.
    pidfd: Option<OwnedFd>,
    pub(crate) phase: Phase,
    pub(crate) pid_namespace: PidNamespace,
    /// Where sessions in it live.
    pub(crate) exec_pid: agent_runtime::ExecPid,
    /// What its processes, sessions among them, may do to one that joins them.
    pub(crate) onlookers: agent_runtime::Onlookers,
    /// Set where another runtime has made it.
    pub(crate) external: Option<Arc<External>>,
    /// Set where it has hooks, until its last ones are run.
    pub(crate) hooked: Option<Arc<Hooked>>,
    pub(crate) cgroup: Cgroup,
    pub(crate) stdio: Stdio,
    pub(crate) log: Log,
    /// Nanoseconds since the epoch; 0: not started.
    pub(crate) started_at: i64,
}

impl Container {
    /// Returns what the present phase is called.
    pub(crate) const fn state(&self) -> &'static str {
        match self.phase {
            Phase::Created(_) => "created, not started",
            Phase::Starting => "being started",
            Phase::Running => "running",
            Phase::Ended(_) | Phase::Exited(_) => "exited",
        }
    }

    /// Returns whether the first process lives.
    pub(crate) const fn is_alive(&self) -> bool {
        matches!(
            self.phase,
            Phase::Created(_) | Phase::Starting | Phase::Running
        )
    }

    /// Returns the refusal of something that the present phase does not allow.
    pub(crate) fn wrong_state(&self) -> RequestError {
        RequestError::State {
            what: "container",
            id: self.id.to_string(),
            state: self.state(),
        }
    }

    /// Refuses unless the program runs.
    pub(crate) fn require_running(&self) -> Result<(), RequestError> {
        match self.phase {
            Phase::Running => Ok(()),
            Phase::Created(_) | Phase::Starting | Phase::Ended(_) | Phase::Exited(_) => {
                Err(self.wrong_state())
            }
        }
    }

    /// Returns a descriptor of the first process, which may have ended.
    pub(crate) fn pidfd(&self) -> Result<BorrowedFd<'_>, RequestError> {
        let pidfd = self.pidfd.as_ref();
        pidfd.map(AsFd::as_fd).ok_or_else(|| self.wrong_state())
    }

    /// Waits for the end of the first process, which is about to end.
    pub(crate) fn wait(&self) {
        if let Some(pidfd) = &self.pidfd {
            pipes::wait_for(pidfd);
        }
    }

    /// Sends `signal` to the first process.
    pub(crate) fn signal(&mut self, signal: i32) -> std::io::Result<()> {
        if signal == SIGKILL {
            self.cgroup.killed_by_us();
        }
        let pidfd = self.pidfd.as_ref().ok_or(rustix::io::Errno::SRCH)?;
        agent_sys::signal::send(pidfd.as_fd(), signal)
    }

    /// Kills every process: the kernel or the cgroup takes the others along.
    pub(crate) fn kill(&mut self) {
        let _ = self.signal(SIGKILL);
        match self.pid_namespace {
            PidNamespace::Own => self.cgroup.thaw(),
            PidNamespace::Shared => self.cgroup.kill(),
        }
    }

    /// Returns what an agent that has just come is told.
    pub(crate) fn report(&self) -> ContainerReport {
        let exited = match &self.phase {
            Phase::Exited(report) => Some(report.clone()),
            Phase::Created(_) | Phase::Starting | Phase::Running | Phase::Ended(_) => None,
        };
        ContainerReport {
            container_id: self.id.to_string(),
            pid: self.pid,
            started_at: self.started_at,
            exited,
        }
    }
}
