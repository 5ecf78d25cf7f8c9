//! Calling a shim.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_types::{ContainerId, ExecId};
use proto_shim::request::Call;
use proto_shim::{self as wire, FdRole, PROTOCOL_VERSION, reply};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use agent_sys::fdpass::{FrameError, FrameReader, FrameWriter};
use prost::Message as _;

use crate::connection::{Answer, Connection};
use crate::convert::{self, Descriptors};
use crate::error::{ConnectError, HandshakeError, RequestError};
use crate::handshake::{self, Socket};
use crate::report::{Created, Events, ExecExiting, ExecSession, ExecStreams, Ready};
use crate::request::{
    Attach, Attachment, CreateContainer, Exec, ExecStdio, SignalTarget, TerminalSize,
};

/// Name of a shim's socket in its sandbox's directory.
const SOCKET: &str = "shim.sock";

/// Longest path that fits in a socket address.
const MAX_SOCKET_PATH: usize = 107;

/// How long a shim may take to answer a new agent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause before a connection is tried again that the shim's queue had no room for.
const RETRY: Duration = Duration::from_millis(5);

/// A shim, as one connection to it. Clones share the connection; it ends with the last one, and
/// nothing else does: the shim goes on.
#[derive(Debug, Clone)]
pub struct Shim {
    connection: Arc<Connection>,
}

impl Shim {
    /// Finds the shim that serves the sandbox in `directory`.
    ///
    /// # Errors
    /// [`ConnectError::Absent`] when there is none any more.
    pub async fn connect(directory: &Path) -> Result<(Self, Ready), ConnectError> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match Self::try_connect(directory).await {
                // No room in its queue, or it is just ending: soon the answer is another.
                Err(error) if is_passing(&error) && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(RETRY).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_connect(directory: &Path) -> Result<(Self, Ready), ConnectError> {
        let connect = |source| ConnectError::Connect {
            directory: directory.to_owned(),
            source,
        };
        let shim = |source| ConnectError::Shim {
            directory: directory.to_owned(),
            source,
        };
        let socket = open(directory).map_err(|errno| match errno {
            Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR => ConnectError::Absent {
                directory: directory.to_owned(),
            },
            errno => connect(errno.into()),
        })?;
        let socket = handshake::watch(socket).map_err(connect)?;
        let mut writer = FrameWriter::new(wire::MAX_MESSAGE);
        let hello = wire::Request {
            id: 0,
            fds: Vec::new(),
            call: Some(Call::Hello(wire::Hello {
                protocol_version: PROTOCOL_VERSION,
            })),
        };
        let sent = match writer.push(&hello.encode_to_vec(), Vec::new()) {
            Ok(()) => handshake::flush(&socket, &mut writer).await,
            Err(error) => Err(error),
        };
        sent.map_err(|source| match source {
            FrameError::Send { .. } => shim(HandshakeError::Closed),
            source => shim(HandshakeError::Frame { source }),
        })?;
        Self::greet(socket, PATIENCE).await.map_err(shim)
    }

    /// Waits for the first message on a new connection.
    pub(crate) async fn greet(
        socket: Socket,
        patience: Duration,
    ) -> Result<(Self, Ready), HandshakeError> {
        let mut reader = handshake::reader();
        let ready = handshake::ready(&socket, &mut reader, patience).await?;
        Ok((Self::new(socket, reader, &ready)?, ready))
    }

    fn new(socket: Socket, reader: FrameReader, ready: &Ready) -> Result<Self, HandshakeError> {
        let pidfd = ready
            .pidfd
            .try_clone()
            .map_err(|source| HandshakeError::Socket { source })?;
        let connection = Connection::start(socket, reader, pidfd)?;
        Ok(Self {
            connection: Arc::new(connection),
        })
    }

    /// Returns the shim's events; `None` when they were taken before.
    #[must_use]
    pub fn events(&self) -> Option<Events> {
        self.connection.events()
    }

    /// Waits until the connection or the shim is gone.
    pub async fn gone(&self) {
        self.connection.gone().await;
    }

    /// Clones a container's first process and sets it up to just before its program.
    ///
    /// # Errors
    /// Says what could not be made; nothing is left of the container then.
    pub async fn create_container(&self, create: CreateContainer) -> Result<Created, RequestError> {
        let (request, fds) = convert::create_container(create);
        let answer = self
            .connection
            .call(Call::CreateContainer(Box::new(request)), fds)
            .await?;
        match answer.result {
            reply::Result::Created(created) => Ok(created.into()),
            _ => Err(RequestError::Reply { request: "create" }),
        }
    }

    /// Lets a created container's program run; returns when it started to.
    ///
    /// # Errors
    /// When the program cannot be executed the container has exited, with code 128; the event
    /// comes first.
    pub async fn start_container(&self, id: &ContainerId) -> Result<SystemTime, RequestError> {
        let call = Call::StartContainer(wire::StartContainer {
            container_id: id.to_string(),
        });
        match self.connection.call(call, Vec::new()).await?.result {
            reply::Result::Started(started) => Ok(convert::started_at(started)),
            _ => Err(RequestError::Reply { request: "start" }),
        }
    }

    /// Sends a signal to a container's first process, or to all of its processes.
    ///
    /// # Errors
    /// When the container has exited.
    pub async fn signal_container(
        &self,
        id: &ContainerId,
        signal: i32,
        target: SignalTarget,
    ) -> Result<(), RequestError> {
        let call = Call::SignalContainer(wire::SignalContainer {
            container_id: id.to_string(),
            signal,
            all: target == SignalTarget::All,
        });
        self.done(call, Vec::new(), "signal").await
    }

    /// Forgets a container that has exited, or ends and forgets one that never started; its exit
    /// file goes too.
    ///
    /// # Errors
    /// When it runs.
    pub async fn delete_container(&self, id: &ContainerId) -> Result<(), RequestError> {
        let call = Call::DeleteContainer(wire::DeleteContainer {
            container_id: id.to_string(),
        });
        self.done(call, Vec::new(), "delete").await
    }

    /// Runs a program in a running container.
    ///
    /// # Errors
    /// When the container does not run or the program cannot be executed.
    pub async fn exec(&self, exec: Exec) -> Result<ExecSession, RequestError> {
        let pipes = match exec.stdio {
            ExecStdio::Pipes { stdin } => {
                Some(ExecPipes::new(stdin).map_err(|source| RequestError::Pipes { source })?)
            }
            ExecStdio::Terminal(_) => None,
        };
        let (mut fds, ours) = pipes.map_or((Vec::new(), None), ExecPipes::split);
        // Before the request: a short program ends before its start is known here.
        let id = exec.id.clone();
        let exit = ExecExiting(self.connection.expect_session(id.clone()));
        let call = Call::Exec(convert::exec(exec));
        let answer = self.connection.call(call, std::mem::take(&mut fds)).await;
        let session = answer.and_then(|answer| session(answer, ours, exit));
        if session.is_err() {
            self.connection.forget_session(&id);
        }
        session
    }

    /// Sends a signal to a session's process.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn signal_exec(&self, id: &ExecId, signal: i32) -> Result<(), RequestError> {
        let call = Call::SignalExec(wire::SignalExec {
            exec_id: id.to_string(),
            signal,
        });
        self.done(call, Vec::new(), "signal").await
    }

    /// Has the shim read and drop a session's output from here on.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn drain_exec(&self, id: &ExecId) -> Result<(), RequestError> {
        let call = Call::DrainExec(wire::DrainExec {
            exec_id: id.to_string(),
        });
        self.done(call, Vec::new(), "drain").await
    }

    /// Attaches to a container that has not exited.
    ///
    /// # Errors
    /// When it has, or when there are too many clients.
    pub async fn attach(
        &self,
        id: &ContainerId,
        attach: Attach,
    ) -> Result<Attachment, RequestError> {
        let pipes = |source| RequestError::Pipes { source };
        let mut fds = Vec::new();
        let mut side = |wanted: bool, ours: Side, role: FdRole| -> io::Result<Option<OwnedFd>> {
            if !wanted {
                return Ok(None);
            }
            let (our_end, theirs) = pipe(ours)?;
            fds.push((role, theirs));
            Ok(Some(our_end))
        };
        let attachment = Attachment {
            stdin: side(attach.stdin, Side::Write, FdRole::StdinRead).map_err(pipes)?,
            stdout: side(attach.stdout, Side::Read, FdRole::StdoutWrite).map_err(pipes)?,
            stderr: side(attach.stderr, Side::Read, FdRole::StderrWrite).map_err(pipes)?,
        };
        let call = Call::Attach(wire::Attach {
            container_id: id.to_string(),
        });
        self.done(call, fds, "attach").await?;
        Ok(attachment)
    }

    /// Sets the size of a container's terminal.
    ///
    /// # Errors
    /// When it has none.
    pub async fn resize_container(
        &self,
        id: &ContainerId,
        size: TerminalSize,
    ) -> Result<(), RequestError> {
        let call = Call::Resize(wire::Resize {
            container_id: id.to_string(),
            exec_id: String::new(),
            rows: size.rows.into(),
            columns: size.columns.into(),
        });
        self.done(call, Vec::new(), "resize").await
    }

    /// Sets the size of a session's terminal.
    ///
    /// # Errors
    /// When it has none.
    pub async fn resize_exec(&self, id: &ExecId, size: TerminalSize) -> Result<(), RequestError> {
        let call = Call::Resize(wire::Resize {
            container_id: String::new(),
            exec_id: id.to_string(),
            rows: size.rows.into(),
            columns: size.columns.into(),
        });
        self.done(call, Vec::new(), "resize").await
    }

    /// Opens a container's log file by name again.
    ///
    /// # Errors
    /// When it cannot be opened; the old one stays in use then.
    pub async fn reopen_log(&self, id: &ContainerId) -> Result<(), RequestError> {
        let call = Call::ReopenLog(wire::ReopenLog {
            container_id: id.to_string(),
        });
        self.done(call, Vec::new(), "reopen").await
    }

    /// Returns the root directory of a running container, as its processes see it.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn open_root(&self, id: &ContainerId) -> Result<OwnedFd, RequestError> {
        let call = Call::OpenRoot(wire::OpenRoot {
            container_id: id.to_string(),
        });
        let mut answer = self.connection.call(call, Vec::new()).await?;
        handshake::take(&mut answer.descriptors, FdRole::RootDirectory).ok_or(RequestError::Reply {
            request: "open root",
        })
    }

    /// Ends every container and then the shim.
    ///
    /// # Errors
    /// When processes do not end even when killed; the shim goes on then.
    pub async fn shutdown(&self) -> Result<(), RequestError> {
        let call = Call::Shutdown(wire::Shutdown {});
        self.done(call, Vec::new(), "shutdown").await
    }

    async fn done(
        &self,
        call: Call,
        fds: Descriptors,
        request: &'static str,
    ) -> Result<(), RequestError> {
        match self.connection.call(call, fds).await?.result {
            reply::Result::Done(wire::Done {}) => Ok(()),
            _ => Err(RequestError::Reply { request }),
        }
    }
}

/// Whether trying again may end otherwise.
fn is_passing(error: &ConnectError) -> bool {
    match error {
        ConnectError::Absent { .. } => false,
        ConnectError::Connect { source, .. } => source.kind() == io::ErrorKind::WouldBlock,
        ConnectError::Shim { source, .. } => matches!(source, HandshakeError::Closed),
    }
}

fn session(
    answer: Answer,
    pipes: Option<ExecStreams>,
    exit: ExecExiting,
) -> Result<ExecSession, RequestError> {
    let wrong = || RequestError::Reply { request: "exec" };
    let Answer {
        result,
        mut descriptors,
    } = answer;
    let reply::Result::ExecStarted(started) = result else {
        return Err(wrong());
    };
    let streams = match pipes {
        Some(pipes) => pipes,
        None => handshake::take(&mut descriptors, FdRole::Terminal)
            .map(ExecStreams::Terminal)
            .ok_or_else(wrong)?,
    };
    Ok(ExecSession {
        pid: convert::pid(started.pid),
        streams,
        exit,
    })
}

/// Which end of a pipe is the agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Read,
    Write,
}

/// Returns the agent's end of a new pipe, which does not block, and the other.
fn pipe(ours: Side) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (ours, theirs) = match ours {
        Side::Read => (read, write),
        Side::Write => (write, read),
    };
    let flags = rustix::fs::fcntl_getfl(&ours)?;
    rustix::fs::fcntl_setfl(&ours, flags | OFlags::NONBLOCK)?;
    Ok((ours, theirs))
}

/// Both sides of a session's pipes.
struct ExecPipes {
    theirs: Descriptors,
    ours: ExecStreams,
}

impl ExecPipes {
    fn new(stdin: bool) -> io::Result<Self> {
        let (stdout, stdout_write) = pipe(Side::Read)?;
        let (stderr, stderr_write) = pipe(Side::Read)?;
        let mut theirs = vec![
            (FdRole::StdoutWrite, stdout_write),
            (FdRole::StderrWrite, stderr_write),
            (FdRole::StdoutRead, stdout.try_clone()?),
            (FdRole::StderrRead, stderr.try_clone()?),
        ];
        let stdin = if stdin {
            let (write, read) = pipe(Side::Write)?;
            theirs.push((FdRole::StdinRead, read));
            Some(write)
        } else {
            None
        };
        let ours = ExecStreams::Pipes {
            stdin,
            stdout,
            stderr,
        };
        Ok(Self { theirs, ours })
    }

    fn split(self) -> (Descriptors, Option<ExecStreams>) {
        (self.theirs, Some(self.ours))
    }
}

/// Connects to the socket in `directory`, however long its path is.
fn open(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::open(directory, flags, Mode::empty())?;
    let path = directory.join(SOCKET);
    let path = if path.as_os_str().len() <= MAX_SOCKET_PATH {
        path
    } else {
        Path::new("/proc/self/fd")
            .join(handle.as_raw_fd().to_string())
            .join(SOCKET)
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path.as_path())?)?;
    Ok(socket)
}
