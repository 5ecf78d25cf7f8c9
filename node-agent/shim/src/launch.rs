//! From a request to a shim that serves: everything a new shim does before its event loop.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use agent_sys::fdpass::FrameWriter;
use agent_types::{IdError, SandboxId};
use nix::sys::signal::{SigSet, Signal};
use prost::Message as _;
use proto_shim::{ErrorCode, FromShim, LaunchRequest, MAX_MESSAGE, from_shim};

use crate::descriptors::Descriptors;
use crate::directory::Directory;
use crate::error::chain;
use crate::namespaces::NewNamespaces;
use crate::sandbox::{Made, Sandbox};
use crate::shim::Shim;

/// Why a shim could not be launched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("launch request is malformed: {what}")]
    Malformed { what: &'static str },
    #[error("launch request names no sandbox")]
    Id { source: IdError },
    #[error("no process for the sandbox could be forked")]
    Fork {
        source: agent_sys::process::ForkError,
    },
    #[error("{step} of {name} namespace failed")]
    Namespace {
        step: &'static str,
        name: &'static str,
        source: io::Error,
    },
    #[error("user namespace of the sandbox could not be made")]
    UserNamespace {
        source: agent_runtime::UserNamespaceError,
    },
    #[error("host name {name:?} could not be set")]
    Hostname { name: String, source: io::Error },
    #[error("sysctls of the sandbox could not be set")]
    Sysctl { source: agent_runtime::SysctlError },
    #[error("shared memory of the sandbox could not be made")]
    Shm {
        source: agent_runtime::SharedMountError,
    },
    #[error("first process of the shared PID namespace could not be made")]
    Reaper { source: agent_runtime::ReaperError },
    #[error("{step} in {path} failed")]
    Serve {
        step: &'static str,
        path: String,
        source: io::Error,
    },
}

impl LaunchError {
    /// Returns a function that wraps what the kernel said about a namespace.
    pub(crate) fn namespace<E: Into<io::Error>>(
        step: &'static str,
        name: &'static str,
    ) -> impl Fn(E) -> Self {
        move |source| Self::Namespace {
            step,
            name,
            source: source.into(),
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed { .. } | Self::Id { .. } | Self::Hostname { .. } => ErrorCode::Invalid,
            Self::UserNamespace {
                source: agent_runtime::UserNamespaceError::Map { .. },
            } => ErrorCode::Invalid,
            Self::Sysctl { source } => match source {
                agent_runtime::SysctlError::Procfs(_) => ErrorCode::Internal,
                _ => ErrorCode::Invalid,
            },
            _ => ErrorCode::Internal,
        }
    }

    fn errno(&self) -> i32 {
        match self {
            Self::Namespace { source, .. }
            | Self::Hostname { source, .. }
            | Self::Serve { source, .. } => source.raw_os_error().unwrap_or(0),
            Self::Reaper { source } => source.errno(),
            Self::Fork { source } => source.errno(),
            Self::UserNamespace { source } => source.errno(),
            _ => 0,
        }
    }
}

/// Tells the agent that there will be no shim.
pub(crate) fn report_failure(agent: &OwnedFd, error: &LaunchError) {
    let message = FromShim {
        fds: Vec::new(),
        message: Some(from_shim::Message::Failed(proto_shim::Error {
            code: error.code().into(),
            message: chain(error),
            errno: error.errno(),
        })),
    };
    // An agent that does not listen any more cannot be told.
    let mut writer = FrameWriter::new(MAX_MESSAGE);
    let queued = writer.push(&message.encode_to_vec(), Vec::new());
    if queued.is_ok() {
        let _ = writer.flush(agent.as_fd());
    }
}

/// A shim that has all it needs and does not serve yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    made: Made,
    directory: Directory,
    listener: OwnedFd,
}

/// Turns the calling process into the shim that `request` asks for: one just forked, or a spare
/// with namespaces that it made ahead.
pub(crate) fn prepare(
    request: &LaunchRequest,
    descriptors: &mut Descriptors,
    spare: Option<NewNamespaces>,
) -> Result<Prepared, LaunchError> {
    let id: SandboxId = request
        .sandbox_id
        .parse()
        .map_err(|source| LaunchError::Id { source })?;
    let serve = |step: &'static str| {
        let path = request.directory.clone();
        move |source: io::Error| LaunchError::Serve { step, path, source }
    };
    become_shim(&id).map_err(serve("setting up the process"))?;
    let directory = Directory::open(Path::new(&request.directory))
        .map_err(|errno| serve("opening the directory")(errno.into()))?;
    // Before anything can be mounted over the directory; whoever connects early waits.
    let listener = directory
        .listen()
        .map_err(|errno| serve("listening")(errno.into()))?;
    let made =
        Sandbox::make(request, descriptors, spare).inspect_err(|_| directory.remove_socket())?;
    Ok(Prepared {
        made,
        directory,
        listener,
    })
}

impl Prepared {
    /// Tells the agent and serves until told to end.
    pub(crate) fn serve(self, agent: OwnedFd) {
        // A failure here is want of memory or descriptors: the agent sees the connection end.
        if let Ok(shim) = Shim::new(self.made, self.directory, self.listener, agent) {
            shim.serve();
        }
    }
}

/// Gives the process a session and a name of its own, and makes it hard to end by mistake.
fn become_shim(id: &SandboxId) -> io::Result<()> {
    rustix::process::setsid()?;
    let name = std::ffi::CString::new(format!("shim:{}", id.short()))?;
    rustix::thread::set_name(&name)?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    // Processes that daemonize in the host's PID namespace come to the shim, not to init.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// Returns the signals that a shim takes through a descriptor, or not at all.
pub(crate) fn blocked_signals() -> SigSet {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        // Whatever ends a shim leaves containers without their keeper; only SIGKILL may.
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
    ] {
        signals.add(signal);
    }
    signals
}
