//! The launcher: a small process that the agent starts once and that forks a shim on request.
//!
//! Owns: its slim mount namespace, and the shims until they stand.
//! Does not: keep track of shims; they outlive it and answer to agents by themselves.
//!
//! Started with a stream socket as standard input. The first frame is `Configure`, answered by
//! `FromLauncher`; every further one is a `LaunchRequest`, answered by the shim. It ends when the
//! socket does.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use agent_runtime::{IdMapping, IdMappings};
use agent_sys::fdpass::{Frame, FrameError, FrameReader, FrameWriter, Read};
use agent_sys::mount::{Depth, shift_owners};
use agent_sys::process::{Fork, Forked, Relation};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use prost::Message as _;
use proto_shim::{
    Configure, ErrorCode, FdRole, FromLauncher, LaunchRequest, LauncherReady, MAX_MESSAGE,
    PROTOCOL_VERSION, from_launcher,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::WaitOptions;
use rustix::thread::UnshareFlags;

use crate::descriptors::Descriptors;
use crate::error::chain;
use crate::launch::{self, LaunchError};
use crate::namespaces::NewNamespaces;
use crate::spare::{self, Spare};

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// The agent's root directory.
    pub(crate) root: PathBuf,
    /// The agent's state directory.
    pub(crate) state: PathBuf,
}

/// Why the launcher ended before its agent did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LauncherError {
    #[error("launcher could not be set up ({step})")]
    Setup {
        step: &'static str,
        source: io::Error,
    },
    #[error("launcher could not leave the host's mounts")]
    Slim { source: agent_sys::slim::SlimError },
    #[error("launcher could not mount a procfs for exec sessions")]
    Procfs {
        source: agent_sys::mount::FilesystemError,
    },
    #[error("connection of the launcher broke")]
    Connection { source: FrameError },
    #[error("first frame does not configure the launcher")]
    Configure { source: prost::DecodeError },
    #[error("frame does not launch a shim")]
    Request { source: prost::DecodeError },
}

fn setup<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> LauncherError {
    move |source| LauncherError::Setup {
        step,
        source: source.into(),
    }
}

/// Where a process stands when [`run`] is over: it may be one of the shims.
pub(crate) fn run(arguments: &Arguments) -> Result<(), LauncherError> {
    agent_sys::heap::keep_small();
    let socket = take_socket().map_err(setup("taking the socket"))?;
    let mut reader = FrameReader::new(MAX_MESSAGE);
    let Some(first) = next_frame(&mut reader, &socket)? else {
        return Ok(());
    };
    let signals = match configure(arguments, first) {
        Ok(signals) => signals,
        Err(error) => {
            answer(&socket, from_launcher::Message::Failed(failure(&error)))?;
            return Err(error);
        }
    };
    let ready = LauncherReady {
        protocol_version: PROTOCOL_VERSION,
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        user_namespaces: can_make_user_namespaces(&arguments.root),
    };
    answer(&socket, from_launcher::Message::Ready(ready))?;
    // Whatever the set-up left is not to be copied into every shim.
    agent_sys::heap::trim();
    serve(socket, reader, signals)
}

/// Returns whether sandboxes can have user namespaces here: the kernel lets some be made, and the
/// file system below `root` shows its files' owners shifted.
fn can_make_user_namespaces(root: &Path) -> bool {
    let all = [IdMapping {
        inside: 0,
        outside: 1,
        length: 1,
    }];
    let ids = IdMappings {
        uids: &all,
        gids: &all,
    };
    let Ok(made) = agent_runtime::make_user_namespace(ids, UnshareFlags::empty()) else {
        return false;
    };
    agent_sys::mount::copy_of_path(root, Depth::One)
        .and_then(|copy| shift_owners(copy.as_fd(), made.user.as_fd(), Depth::One))
        .is_ok()
}

/// Frees standard input, so that descriptor 0 is never a socket in anything forked from here.
///
/// Whatever else was inherited is closed: it would live on in every shim.
fn take_socket() -> io::Result<OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(null);
    let [socket] = agent_sys::process::keep_stdio_and([socket])?;
    Ok(socket)
}

/// Returns the next frame; `None` when the agent has gone. Waits for it.
fn next_frame(reader: &mut FrameReader, socket: &OwnedFd) -> Result<Option<Frame>, LauncherError> {
    loop {
        match reader.read(socket.as_fd()) {
            Ok(Read::Frame(frame)) => return Ok(Some(frame)),
            Ok(Read::Closed) | Err(FrameError::CutOff) => return Ok(None),
            Ok(Read::Pending) => {
                wait(&[socket.as_fd()], None)?;
            }
            Err(source) => return Err(LauncherError::Connection { source }),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Waited {
    /// There may be something to read.
    Ready,
    TooLong,
}

fn wait(fds: &[BorrowedFd<'_>], patience: Option<&Timespec>) -> Result<Waited, LauncherError> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    match rustix::event::poll(&mut polled, patience) {
        Ok(0) => Ok(Waited::TooLong),
        Ok(_) | Err(Errno::INTR) => Ok(Waited::Ready),
        Err(errno) => Err(setup("waiting")(errno)),
    }
}

fn configure(arguments: &Arguments, frame: Frame) -> Result<SignalFd, LauncherError> {
    let request = Configure::decode(frame.body.as_slice())
        .map_err(|source| LauncherError::Configure { source })?;
    let mut descriptors = Descriptors::new(&request.fds, frame.fds)
        .map_err(|_| setup("reading descriptors")(io::Error::from(io::ErrorKind::InvalidData)))?;
    for directory in descriptors.take_all(FdRole::CgroupDirectory) {
        crate::cgroup::enter(directory.as_fd()).map_err(setup("entering the cgroup"))?;
    }
    // A session of its own: what ends a person's terminal does not end the launcher.
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => {}
        Err(errno) => return Err(setup("setsid")(errno)),
    }
    rustix::thread::set_name(c"shim-launcher").map_err(setup("naming"))?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(setup("hiding from tracers"))?;
    lower_oom_score();
    // Containers inherit it where their specification says nothing; the agent's own may be strict.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    agent_sys::slim::enter(&[&arguments.root, &arguments.state])
        .map_err(|source| LauncherError::Slim { source })?;
    agent_runtime::keep_procfs().map_err(|source| LauncherError::Procfs { source })?;
    let signals = launch::blocked_signals();
    signals.thread_block().map_err(setup("blocking signals"))?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&signals, flags).map_err(setup("signalfd"))
}

/// Makes the OOM killer look elsewhere, as far as it is granted: without `CAP_SYS_RESOURCE` a
/// score only rises.
fn lower_oom_score() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "-999");
}

fn failure(error: &LauncherError) -> proto_shim::Error {
    proto_shim::Error {
        code: ErrorCode::Internal.into(),
        message: chain(error),
        errno: 0,
    }
}

fn answer(socket: &OwnedFd, message: from_launcher::Message) -> Result<(), LauncherError> {
    let message = FromLauncher {
        message: Some(message),
    };
    let mut writer = FrameWriter::new(MAX_MESSAGE);
    writer
        .push(&message.encode_to_vec(), Vec::new())
        .and_then(|()| writer.flush(socket.as_fd()).map(|_| ()))
        .map_err(|source| LauncherError::Connection { source })
}

/// How long the launcher has nothing to do before it makes a spare: what makes the last sandbox
/// complete, its veth pair above all, takes the same locks in the kernel as a new namespace.
const QUIET: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

/// What the process turned out to be.
#[derive(Debug)]
enum Role {
    /// The launcher, whose agent went away.
    Launcher,
    /// Forked for a request.
    Shim {
        request: Box<LaunchRequest>,
        descriptors: Descriptors,
        agent: OwnedFd,
    },
    /// Forked ahead of one.
    Spare { launcher: OwnedFd },
}

/// Forks shims until the agent goes away.
fn serve(socket: OwnedFd, mut reader: FrameReader, signals: SignalFd) -> Result<(), LauncherError> {
    crate::pipes::set_nonblocking(&socket).map_err(setup("unblocking the socket"))?;
    let role = launch_all(&socket, &mut reader, &signals)?;
    drop((socket, signals, reader));
    match role {
        Role::Launcher => {}
        Role::Shim {
            request,
            descriptors,
            agent,
        } => be_a_shim(&request, descriptors, agent, None),
        Role::Spare { launcher } => be_a_spare(launcher),
    }
    Ok(())
}

/// Returns in the launcher when its work is done, and in each process that it forks.
fn launch_all(
    socket: &OwnedFd,
    reader: &mut FrameReader,
    signals: &SignalFd,
) -> Result<Role, LauncherError> {
    let mut spare: Option<Spare> = None;
    // A spare that ends by itself is not made again before the next request.
    let mut spare_due = true;
    loop {
        reap(signals);
        let frame = match reader.read(socket.as_fd()) {
            Ok(Read::Frame(frame)) => frame,
            Ok(Read::Closed) | Err(FrameError::CutOff) => return Ok(Role::Launcher),
            Ok(Read::Pending) => {
                let patience = spare_due.then_some(&QUIET);
                if wait(&[socket.as_fd(), signals.as_fd()], patience)? == Waited::TooLong {
                    spare_due = false;
                    if let Some(launcher) = make_spare(&mut spare) {
                        return Ok(Role::Spare { launcher });
                    }
                }
                continue;
            }
            Err(source) => return Err(LauncherError::Connection { source }),
        };
        spare_due = true;
        if let Some(role) = launch(frame, &mut spare)? {
            return Ok(role);
        }
    }
}

/// Has a request served by the spare, or by a new process: returns what that one is, in it.
fn launch(frame: Frame, spare: &mut Option<Spare>) -> Result<Option<Role>, LauncherError> {
    let request = LaunchRequest::decode(frame.body.as_slice())
        .map_err(|source| LauncherError::Request { source })?;
    if crate::sandbox::takes_spare(&request)
        && let Some(spare) = spare.take().filter(Spare::waits)
    {
        spare.hand_over(frame);
        return Ok(None);
    }
    let Ok(mut descriptors) = Descriptors::new(&request.fds, frame.fds) else {
        return Ok(None);
    };
    let Some(agent) = descriptors.take(FdRole::AgentSocket) else {
        // Nobody to answer to.
        return Ok(None);
    };
    match fork() {
        Ok(Forked::Parent(_)) => Ok(None),
        Ok(Forked::Child) => {
            // It would keep the spare from seeing its launcher end.
            *spare = None;
            Ok(Some(Role::Shim {
                request: Box::new(request),
                descriptors,
                agent,
            }))
        }
        Err(source) => {
            launch::report_failure(&agent, &LaunchError::Fork { source });
            Ok(None)
        }
    }
}

/// Forks a spare unless one waits; returns the spare's end of the socket, in the spare.
fn make_spare(spare: &mut Option<Spare>) -> Option<OwnedFd> {
    if spare.as_ref().is_some_and(Spare::waits) {
        return None;
    }
    *spare = None;
    let (made, end) = Spare::pair().ok()?;
    // Without one, the next request is served a little later.
    match fork().ok()? {
        Forked::Parent(_) => {
            *spare = Some(made);
            None
        }
        Forked::Child => Some(end),
    }
}

fn fork() -> Result<Forked, agent_sys::process::ForkError> {
    agent_sys::process::fork(&Fork {
        new: UnshareFlags::empty(),
        cgroup: None,
        relation: Relation::Child,
    })
}

fn be_a_spare(launcher: OwnedFd) {
    let Some((frame, namespaces)) = spare::stand_by(&launcher) else {
        return;
    };
    drop(launcher);
    // The launcher has read the request once.
    let Ok(request) = LaunchRequest::decode(frame.body.as_slice()) else {
        return;
    };
    let Ok(mut descriptors) = Descriptors::new(&request.fds, frame.fds) else {
        return;
    };
    drop(frame.body);
    if let Some(agent) = descriptors.take(FdRole::AgentSocket) {
        be_a_shim(&request, descriptors, agent, Some(namespaces));
    }
}

fn be_a_shim(
    request: &LaunchRequest,
    mut descriptors: Descriptors,
    agent: OwnedFd,
    spare: Option<NewNamespaces>,
) {
    match launch::prepare(request, &mut descriptors, spare) {
        Ok(prepared) => {
            // Nothing that came with the request is kept, unless it was taken.
            drop(descriptors);
            prepared.serve(agent);
        }
        Err(error) => launch::report_failure(&agent, &error),
    }
}

/// Waits for shims that have ended.
fn reap(signals: &SignalFd) {
    while let Ok(Some(_)) = signals.read_signal() {}
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}
