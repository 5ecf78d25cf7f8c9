//! The launcher's process: started once from a sealed copy, started again when it has died.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use agent_sys::fdpass::{FrameError, FrameWriter};
use agent_sys::memfd::{SealedCopyError, sealed_copy};
use prost::Message as _;
use proto_shim::{
    Configure, FdRole, FromLauncher, LaunchRequest, MAX_MESSAGE, PROTOCOL_VERSION, from_launcher,
};
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::convert;
use crate::error::{HandshakeError, LaunchError, StartLauncherError};
use crate::handshake::{self, Socket};
use crate::report::Ready;
use crate::request::LaunchSpec;
use crate::shim::Shim;

/// How long a launcher or a shim may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a launcher needs to know.
#[derive(Debug)]
pub struct LauncherConfig {
    /// The shim's binary.
    pub binary: PathBuf,
    /// The agent's root directory: containers' layers are below it.
    pub root: PathBuf,
    /// The agent's state directory: sandboxes' directories are below it.
    pub state: PathBuf,
    /// Cgroups for launcher and shims to live in; none: the agent's.
    pub cgroup_directories: Vec<OwnedFd>,
}

/// Launches shims. Dropping it ends the launcher's process, and no shim.
#[derive(Debug)]
pub struct Launcher {
    config: LauncherConfig,
    /// The binary as it was when the agent started, where no container can reach it.
    image: OwnedFd,
    process: Mutex<Process>,
    user_namespaces: bool,
}

#[derive(Debug)]
struct Process {
    child: Child,
    socket: Socket,
    writer: FrameWriter,
    /// What it found out about the machine.
    user_namespaces: bool,
}

impl Launcher {
    /// Copies the binary and starts it.
    ///
    /// # Errors
    /// When the binary cannot be read, executed, or set up.
    pub async fn start(config: LauncherConfig) -> Result<Self, StartLauncherError> {
        let binary = config.binary.clone();
        let copied = tokio::task::spawn_blocking(move || sealed_copy(&binary)).await;
        let image = copied
            .unwrap_or_else(|error| {
                Err(SealedCopyError::Read {
                    path: config.binary.clone(),
                    source: io::Error::other(error),
                })
            })
            .map_err(|source| StartLauncherError::Copy { source })?;
        let process = Process::start(&config, &image).await?;
        Ok(Self {
            config,
            image,
            user_namespaces: process.user_namespaces,
            process: Mutex::new(process),
        })
    }

    /// Returns whether sandboxes can have user namespaces on this machine, as it was at the start.
    #[must_use]
    pub const fn user_namespaces(&self) -> bool {
        self.user_namespaces
    }

    /// Returns the process id of the launcher; `None` when it has died since it was needed last.
    pub async fn pid(&self) -> Option<u32> {
        self.process.lock().await.child.id()
    }

    /// Ends the launcher's process and waits until it is gone; shims go on. One that is needed
    /// later is started again.
    pub async fn end(&self) {
        let mut process = self.process.lock().await;
        // It ends when its socket does. An error means that this has happened.
        let _ = rustix::net::shutdown(process.socket.get_ref(), Shutdown::Both);
        if tokio::time::timeout(PATIENCE, process.child.wait())
            .await
            .is_err()
        {
            tracing::warn!(pid = process.child.id(), "launcher does not end");
        }
    }

    /// Launches the shim of a sandbox and waits until its namespaces stand.
    ///
    /// # Errors
    /// Says what could not be made; no shim is left then.
    pub async fn launch(&self, spec: &LaunchSpec) -> Result<(Shim, Ready), LaunchError> {
        let first = self.attempt(spec).await;
        match first {
            // It died with the request, or before: nothing came of it, and another may do better.
            Err(LaunchError::Send { .. }) => self.attempt(spec).await,
            Err(LaunchError::Shim {
                source: HandshakeError::Closed,
                ..
            }) if self.is_dead().await => self.attempt(spec).await,
            outcome => outcome,
        }
    }

    async fn is_dead(&self) -> bool {
        !self.process.lock().await.is_alive()
    }

    async fn attempt(&self, spec: &LaunchSpec) -> Result<(Shim, Ready), LaunchError> {
        let id = || spec.id.clone();
        let descriptors = |source| LaunchError::Descriptors { id: id(), source };
        let (ours, theirs) = handshake::pair().map_err(descriptors)?;
        let socket = handshake::watch(ours).map_err(descriptors)?;
        let (mut request, mut fds) = convert::launch(spec).map_err(descriptors)?;
        fds.push((FdRole::AgentSocket, theirs));
        let (roles, fds): (Vec<_>, Vec<_>) = fds.into_iter().unzip();
        request.fds = roles.into_iter().map(i32::from).collect();
        self.send(spec, &request, fds).await?;
        Shim::greet(socket, PATIENCE)
            .await
            .map_err(|source| LaunchError::Shim { id: id(), source })
    }

    async fn send(
        &self,
        spec: &LaunchSpec,
        request: &LaunchRequest,
        fds: Vec<OwnedFd>,
    ) -> Result<(), LaunchError> {
        let id = || spec.id.clone();
        let mut process = self.process.lock().await;
        if !process.is_alive() {
            *process = Process::start(&self.config, &self.image)
                .await
                .map_err(|source| LaunchError::Launcher {
                    id: id(),
                    source: Box::new(source),
                })?;
            tracing::warn!(pid = process.child.id(), "launcher restarted");
        }
        process
            .send(&request.encode_to_vec(), fds)
            .await
            .map_err(|source| LaunchError::Send { id: id(), source })
    }
}

impl Process {
    async fn start(config: &LauncherConfig, image: &OwnedFd) -> Result<Self, StartLauncherError> {
        let spawn = |source| StartLauncherError::Spawn {
            binary: config.binary.clone(),
            source,
        };
        let set_up = |source| StartLauncherError::SetUp { source };
        let (ours, theirs) = handshake::pair().map_err(spawn)?;
        let child = Command::new(format!("/proc/self/fd/{}", image.as_raw_fd()))
            .arg0("node-agent-shim")
            .arg("launcher")
            .arg("--root")
            .arg(&config.root)
            .arg("--state")
            .arg(&config.state)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(spawn)?;
        let socket = handshake::watch(ours).map_err(spawn)?;
        let mut process = Self {
            child,
            socket,
            writer: FrameWriter::new(MAX_MESSAGE),
            user_namespaces: false,
        };
        tokio::time::timeout(PATIENCE, process.configure(config))
            .await
            .unwrap_or(Err(HandshakeError::TimedOut {
                seconds: PATIENCE.as_secs(),
            }))
            .map_err(set_up)?;
        Ok(process)
    }

    async fn configure(&mut self, config: &LauncherConfig) -> Result<(), HandshakeError> {
        let directories = config.cgroup_directories.iter();
        let fds = directories
            .map(OwnedFd::try_clone)
            .collect::<io::Result<Vec<_>>>()
            .map_err(|source| HandshakeError::Socket { source })?;
        let request = Configure {
            protocol_version: PROTOCOL_VERSION,
            fds: vec![FdRole::CgroupDirectory.into(); fds.len()],
        };
        self.send(&request.encode_to_vec(), fds)
            .await
            .map_err(|source| HandshakeError::Frame { source })?;
        let mut reader = handshake::reader();
        let frame = handshake::receive(&self.socket, &mut reader).await?;
        let answer = FromLauncher::decode(frame.body.as_slice())
            .map_err(|_| HandshakeError::Message { what: "no message" })?;
        match answer.message {
            Some(from_launcher::Message::Ready(ready)) => {
                self.user_namespaces = ready.user_namespaces;
                Ok(())
            }
            Some(from_launcher::Message::Failed(error)) => Err(handshake::refused(error)),
            None => Err(HandshakeError::Message {
                what: "an empty message",
            }),
        }
    }

    async fn send(&mut self, body: &[u8], fds: Vec<OwnedFd>) -> Result<(), FrameError> {
        self.writer.push(body, fds)?;
        handshake::flush(&self.socket, &mut self.writer).await
    }

    fn is_alive(&mut self) -> bool {
        // A process that is being ended closes its socket before it can be waited for.
        let socket = self.socket.get_ref();
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let connected = matches!(
            rustix::net::recv(socket, &mut [0; 1], flags),
            Err(Errno::AGAIN | Errno::INTR)
        );
        connected && matches!(self.child.try_wait(), Ok(None))
    }
}
