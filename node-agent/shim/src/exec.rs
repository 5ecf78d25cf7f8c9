//! Exec sessions: programs run in a running container beside its first process.
//!
//! Their output goes to the agent, which holds the reading ends of their pipes. The shim holds
//! copies that it reads only once nobody else does, so that a session neither blocks nor is
//! killed because its agent went away.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_runtime as runtime;
use agent_types::ExecId;
use proto_shim::{Exec, ExecExited, FdRole};
use rustix::process::{Pid, PidfdFlags};

use crate::buffers::Buffers;
use crate::container::Container;
use crate::container::create::{dimension, user};
use crate::container::stdio::{output_token, set_size};
use crate::descriptors::Descriptors;
use crate::error::RequestError;
use crate::log::format::Stream;
use crate::pipes::{self, ReadOutcome, Status};
use crate::poll::{Interest, Poll};

/// What ends a terminal's input: ctrl-D.
const END_OF_INPUT: &[u8] = &[4];

const SIGKILL: i32 = 9;

/// Times that a session's processes are looked for: some may be forked while others are killed.
const KILL_ROUNDS: u32 = 10;

/// Who reads a session's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Agent,
    /// Read and dropped here.
    Shim,
}

/// One exec session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) serial: u32,
    pub(crate) id: ExecId,
    /// Serial of the container.
    pub(crate) container: u32,
    pub(crate) pid: i32,
    pidfd: OwnedFd,
    /// Reading ends; or the terminal and nothing.
    outputs: [Option<OwnedFd>; 2],
    terminal: bool,
    reader: Reader,
    deadline: Option<Instant>,
    timed_out: bool,
    /// Whether the process has been reaped; only output is left.
    pub(crate) ended: bool,
}

/// A session with a process to come.
#[derive(Debug)]
pub(crate) struct Unstarted {
    id: ExecId,
    container: u32,
    outputs: [Option<OwnedFd>; 2],
    deadline: Option<Instant>,
}

/// How far a session has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Its program runs.
    Started(Started),
    /// Another runtime is at it, and is to be followed.
    Begun(Unstarted, runtime::Execution),
}

/// How far a runtime has come.
enum Executing {
    Done(runtime::Execed),
    Begun(runtime::Execution),
}

/// A session that has just started, and the terminal for the agent.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) session: Session,
    pub(crate) terminal: Option<OwnedFd>,
    /// What it may do to others in the container.
    pub(crate) onlookers: runtime::Onlookers,
}

/// Runs a program in `container`, or has another runtime begin to do that.
pub(crate) fn start(
    request: &Exec,
    id: ExecId,
    mut descriptors: Descriptors,
    (container, user_namespace): (&Container, Option<runtime::UserNamespace<'_>>),
    home: &runtime::Home,
    poll: &mut Poll,
) -> Result<Progress, RequestError> {
    let stdio = stdio(request, &mut descriptors)?;
    let outputs = [FdRole::StdoutRead, FdRole::StderrRead].map(|role| descriptors.take(role));
    // Counted from here: what the program does before its first instruction is its time too.
    let deadline = (request.timeout_ms > 0)
        .then(|| Instant::now() + Duration::from_millis(request.timeout_ms));
    let target = (container, container.pidfd()?);
    let executing = execute(request, target, user_namespace, home, stdio);
    let unstarted = Unstarted {
        id,
        container: container.serial,
        outputs,
        deadline,
    };
    let made = match executing {
        Ok(Executing::Begun(execution)) => return Ok(Progress::Begun(unstarted, execution)),
        Ok(Executing::Done(made)) => Ok(made),
        Err(error) => Err(error),
    };
    unstarted.finish(made, poll).map(Progress::Started)
}

impl Unstarted {
    /// Returns the id that it will have.
    pub(crate) const fn id(&self) -> &ExecId {
        &self.id
    }

    /// Returns when its time is up, if ever.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns whether its time is up.
    pub(crate) fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Returns the report of a session whose time was up before its program ran.
    pub(crate) fn timed_out(&self) -> ExecExited {
        ExecExited {
            exec_id: self.id.to_string(),
            exit_code: 128 + SIGKILL,
            signal: SIGKILL,
            timed_out: true,
        }
    }

    /// Becomes a session with the process that a runtime has made.
    pub(crate) fn finish(
        self,
        made: Result<runtime::Execed, runtime::ExecError>,
        poll: &mut Poll,
    ) -> Result<Started, RequestError> {
        let Self {
            id,
            container,
            outputs,
            deadline,
        } = self;
        let made = made.map_err(|source| RequestError::Exec {
            id: id.to_string(),
            source,
        })?;
        let mut session = Session {
            serial: poll.serial(),
            container,
            pid: made.pid,
            pidfd: made.pidfd,
            outputs,
            terminal: false,
            reader: Reader::Agent,
            deadline,
            timed_out: false,
            ended: false,
            id,
        };
        let terminal = made.terminal;
        if let Some(master) = &terminal
            && let Err(errno) = session.keep_terminal(master)
        {
            let _ = session.signal(SIGKILL);
            pipes::wait_for(&session.pidfd);
            return Err(RequestError::kernel(
                "copying the terminal",
                session.id.as_str(),
            )(errno));
        }
        Ok(Started {
            session,
            terminal,
            onlookers: made.onlookers,
        })
    }
}

/// Has the container's runtime execute the program.
fn execute(
    request: &Exec,
    (container, first): (&Container, BorrowedFd<'_>),
    user_namespace: Option<runtime::UserNamespace<'_>>,
    home: &runtime::Home,
    stdio: runtime::Stdio,
) -> Result<Executing, runtime::ExecError> {
    container.cgroup.with_attach(|attach| {
        let wanted = runtime::ExecRequest {
            container: first,
            pid: container.exec_pid,
            onlookers: container.onlookers,
            user_namespace,
            home,
            process: &request.process,
            user: user(
                &request.user,
                &request.supplemental_groups,
                &request.group_names,
                request.strict_groups,
            ),
            seccomp: &request.seccomp,
            cgroup: attach,
            stdio,
        };
        match &container.external {
            None => runtime::exec(wanted).map(Executing::Done),
            Some(external) => external.exec(container.pid, wanted).map(Executing::Begun),
        }
    })
}

fn stdio(request: &Exec, descriptors: &mut Descriptors) -> Result<runtime::Stdio, RequestError> {
    if request.terminal {
        return Ok(runtime::Stdio::Terminal {
            rows: dimension(request.terminal_rows),
            columns: dimension(request.terminal_columns),
        });
    }
    Ok(runtime::Stdio::Pipes {
        stdin: descriptors.take(FdRole::StdinRead),
        stdout: descriptors.require(FdRole::StdoutWrite, "an exec session needs an output")?,
        stderr: descriptors
            .require(FdRole::StderrWrite, "an exec session needs an error output")?,
    })
}

impl Session {
    /// Keeps a copy of a terminal, to read and resize it.
    fn keep_terminal(&mut self, master: &OwnedFd) -> rustix::io::Result<()> {
        pipes::set_nonblocking(master)?;
        let copy = rustix::io::fcntl_dupfd_cloexec(master, 3)?;
        self.outputs = [Some(copy), None];
        self.terminal = true;
        Ok(())
    }

    pub(crate) fn signal(&self, signal: i32) -> std::io::Result<()> {
        agent_sys::signal::send(self.pidfd.as_fd(), signal)
    }

    /// Sets the size of the terminal.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Option<rustix::io::Result<()>> {
        let master = self.outputs[0].as_ref().filter(|_| self.terminal)?;
        Some(set_size(master, rows, columns))
    }

    /// When [`Session::time_out`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Kills the session if its time is up: every process in it, wherever it moved since.
    pub(crate) fn time_out(&mut self, now: Instant, container: Option<&Container>) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.deadline = None;
        self.timed_out = true;
        let _ = self.signal(SIGKILL);
        // The number of a session is not given to another while one of its processes is left.
        if let (Some(session), Some(container)) = (Pid::from_raw(self.pid), container) {
            for _ in 0..KILL_ROUNDS {
                let processes = container.cgroup.processes();
                let killed = processes
                    .into_iter()
                    .filter(|pid| kill_if_in_session(*pid, session));
                if killed.count() == 0 {
                    return;
                }
            }
        }
    }

    /// Returns the report of the session's end.
    pub(crate) fn end(&mut self, status: Status) -> ExecExited {
        self.ended = true;
        self.deadline = None;
        ExecExited {
            exec_id: self.id.to_string(),
            exit_code: status.code,
            signal: status.signal,
            timed_out: self.timed_out,
        }
    }

    /// Returns whether nothing of it is left to be done.
    pub(crate) fn is_over(&self) -> bool {
        self.ended && (self.reader == Reader::Agent || self.outputs.iter().all(Option::is_none))
    }

    /// Reads and drops the output from here on.
    pub(crate) fn drain(&mut self, poll: &Poll) {
        if self.reader == Reader::Shim {
            return;
        }
        self.reader = Reader::Shim;
        for (stream, output) in Stream::BOTH.into_iter().zip(&mut self.outputs) {
            let Some(fd) = output else { continue };
            let watched = pipes::set_nonblocking(fd).and_then(|()| {
                poll.add(&*fd, output_token(self.serial, stream), Interest::Readable)
            });
            if watched.is_err() {
                *output = None;
            }
        }
    }

    /// Ends the input of a terminal: its agent has gone. A pipe ends by itself.
    pub(crate) fn end_input(&self) {
        if let Some(master) = self.outputs[0].as_ref().filter(|_| self.terminal) {
            let _ = pipes::write(master, END_OF_INPUT);
        }
    }

    /// Drops what `stream` has; closes it at its end.
    pub(crate) fn drop_output(&mut self, stream: Stream, buffers: &mut Buffers, poll: &Poll) {
        let slot = &mut self.outputs[stream.index()];
        let Some(fd) = slot else { return };
        buffers.prepare();
        if pipes::read(&*fd, &mut buffers.input) == ReadOutcome::End {
            poll.remove(&*fd);
            *slot = None;
        }
    }

    /// Closes everything.
    pub(crate) fn close(&mut self, poll: &Poll) {
        for output in &mut self.outputs {
            if let Some(fd) = output.take() {
                poll.remove(&fd);
            }
        }
    }
}

/// Kills a process if it is in `session` and not its leader; returns whether it was.
fn kill_if_in_session(pid: Pid, session: Pid) -> bool {
    // The descriptor first, so that what is looked at and what is killed are the same process.
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return false;
    };
    pid != session
        && rustix::process::getsid(Some(pid)) == Ok(session)
        && agent_sys::signal::send(pidfd.as_fd(), SIGKILL).is_ok()
}
