//! Starts shims, finds them again, and calls them.
//!
//! Owns: the launcher's process, the connection to each shim, and what is said on it. No type of
//! the wire protocol leaves this crate.
//! Does not: decide what to run, keep records, or make cgroups, mounts and networks.
//!
//! ```text
//! Launcher::launch ──LaunchRequest──▶ launcher ──fork──▶ shim ──Ready──▶ Shim
//! Shim::connect(directory) ──Hello──▶ a shim that an earlier agent left ──Ready──▶ Shim
//! ```
//!
//! Each connection has one task that reads. Requests are written by whoever makes them, many may
//! be in flight, and the task hands each reply to its request.
//! Start reading at [`Shim`] and [`Launcher`].
#![forbid(unsafe_code)]

mod connection;
mod convert;
mod error;
mod exit_file;
mod handshake;
mod launcher;
mod report;
mod request;
mod shim;

pub use error::{
    ConnectError, ExitFileError, HandshakeError, LaunchError, Refusal, RequestError,
    StartLauncherError,
};
pub use exit_file::read_exit_file;
pub use launcher::{Launcher, LauncherConfig};
pub use report::{
    ContainerReport, CreateTimes, Created, Events, ExecExit, ExecExiting, ExecSession, ExecStreams,
    ExitReport, Ready, ShimEvent,
};
pub use request::{
    Attach, Attachment, CgroupDirectories, ContainerPid, ContainerStdio, CreateContainer, Exec,
    ExecStdio, IdMapping, IdMappings, ImageMount, LaunchSpec, Log, Namespace, Network,
    OtherRuntime, Root, Rotation, SandboxPid, SignalTarget, Stdin, TerminalSize, User, VolumeMount,
};
pub use shim::Shim;
