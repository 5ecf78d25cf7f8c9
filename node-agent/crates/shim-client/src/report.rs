//! What a shim tells.

use std::os::fd::OwnedFd;
use std::time::SystemTime;

use agent_types::{ContainerId, ExecId};
use tokio::sync::{mpsc, oneshot};

use crate::error::RequestError;

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitReport {
    /// The container.
    pub id: ContainerId,
    /// As a shell reports it: the code, or 128 plus the signal.
    pub exit_code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When its program started; `None` if it never did.
    pub started_at: Option<SystemTime>,
    /// When its first process ended.
    pub finished_at: SystemTime,
    /// Whether the OOM killer ended it.
    pub oom_killed: bool,
    /// Why its program could not be executed.
    pub start_error: Option<String>,
    /// Lines that the disk did not take.
    pub dropped_log_lines: u64,
}

/// A container that a shim has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerReport {
    /// Its id.
    pub id: ContainerId,
    /// Its first process.
    pub pid: u32,
    /// `None`: created, not started.
    pub started_at: Option<SystemTime>,
    /// `None`: it has not ended.
    pub exited: Option<ExitReport>,
}

/// What a shim says of itself when a connection begins.
#[derive(Debug)]
pub struct Ready {
    /// Its process.
    pub pid: u32,
    /// A handle on its process.
    pub pidfd: OwnedFd,
    /// The network namespace made for the sandbox. Keeping it keeps the namespace.
    pub netns: Option<OwnedFd>,
    /// An rtnetlink socket inside it; after a launch only.
    pub netlink: Option<OwnedFd>,
    /// The user namespace made for the sandbox.
    pub user_namespace: Option<OwnedFd>,
    /// First process of a shared PID namespace.
    pub reaper_pid: Option<u32>,
    /// Version of the protocol it speaks.
    pub protocol_version: u32,
    /// Its containers.
    pub containers: Vec<ContainerReport>,
}

/// A container whose first process waits for its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its first process.
    pub pid: u32,
    /// The user it runs as.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// When its making got how far; `None`: another runtime has made it, or an older shim.
    pub times: Option<CreateTimes>,
}

/// When the making of a container got how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateTimes {
    /// Its first process was about to be cloned.
    pub begun: SystemTime,
    /// The process ran.
    pub born: SystemTime,
    /// It was in its cgroup and its namespaces.
    pub joined: SystemTime,
    /// Its file systems were mounted, and it was inside them.
    pub mounted: SystemTime,
}

/// How an exec session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecExit {
    /// The session.
    pub id: ExecId,
    /// As a shell reports it.
    pub exit_code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
}

/// The agent's ends of a session's streams; they do not block.
#[derive(Debug)]
pub enum ExecStreams {
    /// Pipes.
    Pipes {
        /// Write end, if an input was asked for; closing it is the end of input.
        stdin: Option<OwnedFd>,
        /// Read end.
        stdout: OwnedFd,
        /// Read end.
        stderr: OwnedFd,
    },
    /// The master side of a terminal.
    Terminal(OwnedFd),
}

/// A running exec session.
///
/// Its output must be read to the end, or given up with [`crate::Shim::drain_exec`]: a pipe that
/// nobody reads blocks the process.
#[derive(Debug)]
pub struct ExecSession {
    /// Its process.
    pub pid: u32,
    /// Its streams.
    pub streams: ExecStreams,
    /// Its end.
    pub exit: ExecExiting,
}

/// The end of an exec session, to come.
#[derive(Debug)]
pub struct ExecExiting(pub(crate) oneshot::Receiver<ExecExit>);

impl ExecExiting {
    /// Waits for the end; may be called again after it was cancelled.
    ///
    /// # Errors
    /// [`RequestError::Gone`] when the shim goes first.
    pub async fn wait(&mut self) -> Result<ExecExit, RequestError> {
        (&mut self.0).await.map_err(|_| RequestError::Gone)
    }
}

/// Something that happened without being asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShimEvent {
    /// A container has ended, its log is complete, its exit is written down.
    ContainerExited(ExitReport),
    /// A session ended whose [`ExecSession`] this agent does not hold.
    ExecExited(ExecExit),
    /// A hook of a container failed, which changes nothing.
    HookFailed {
        /// The container, as the shim calls it.
        container: String,
        /// Which one, and why.
        message: String,
    },
    /// The connection or the process is gone; nothing follows.
    Gone,
}

/// The events of one shim, in order.
#[derive(Debug)]
pub struct Events(pub(crate) mpsc::UnboundedReceiver<ShimEvent>);

impl Events {
    /// Waits for the next one; `None` after [`ShimEvent::Gone`] or when the [`crate::Shim`] was dropped.
    pub async fn next(&mut self) -> Option<ShimEvent> {
        self.0.recv().await
    }
}
