//! What is asked of a launcher and of a shim.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use agent_types::{ContainerId, ExecId, SandboxId};

/// The network namespace of a sandbox.
#[derive(Debug)]
pub enum Network {
    /// A new one.
    Sandbox,
    /// The host's.
    Host,
    /// This one, another sandbox's.
    Join(OwnedFd),
    /// This one, which was made for it; not for a sandbox with a user namespace.
    Made(OwnedFd),
}

/// Another namespace of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// A new one.
    Sandbox,
    /// The host's.
    Host,
}

/// The PID namespace, or namespaces, of a sandbox.
#[derive(Debug)]
pub enum SandboxPid {
    /// Each container has its own, or the host's.
    PerContainer,
    /// One for all, with a confined process of ours as its first.
    Shared {
        /// The pod's cgroup, where that process lives.
        cgroup: CgroupDirectories,
        /// BPF of its seccomp filter, which must let `pause` through; empty: none.
        seccomp: Vec<u8>,
    },
}

/// A cgroup as open directories; the default is none: stay in the shim's.
#[derive(Debug, Default)]
pub struct CgroupDirectories {
    /// 1 or 2.
    pub version: u32,
    /// One for each hierarchy, memory's first; on version 2 there is one.
    pub directories: Vec<OwnedFd>,
}

/// A range of ids, and what they are outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapping {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub length: u32,
}

/// The ids of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMappings {
    /// Of users.
    pub uids: Vec<IdMapping>,
    /// Of groups.
    pub gids: Vec<IdMapping>,
}

/// A sandbox to launch a shim for.
#[derive(Debug)]
pub struct LaunchSpec {
    /// Whose shim it is.
    pub id: SandboxId,
    /// Its directory under the state directory; exists, for root alone.
    pub directory: PathBuf,
    /// Network namespace.
    pub network: Network,
    /// IPC namespace.
    pub ipc: Namespace,
    /// UTS namespace.
    pub uts: Namespace,
    /// PID namespaces.
    pub pid: SandboxPid,
    /// Host name, for a UTS namespace of its own.
    pub hostname: String,
    /// NIS domain name, for a UTS namespace of its own; mostly empty.
    pub domainname: String,
    /// A user namespace that owns the others; `None`: the host's.
    pub user: Option<IdMappings>,
    /// Sysctls of the sandbox's own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Size of the /dev/shm that the containers share, in bytes; 0: none.
    pub shm_size: u64,
    /// SELinux label of that.
    pub mount_label: Option<String>,
}

/// The layers of a root file system.
#[derive(Debug, Clone)]
pub struct Root {
    /// Directory that the layers' names are relative to.
    pub base: PathBuf,
    /// Layer directories, the topmost first.
    pub lower: Vec<String>,
    /// Where writes go; `None` for a root that is only read.
    pub upper: Option<PathBuf>,
    /// Scratch directory beside `upper`.
    pub work: Option<PathBuf>,
    /// Writes need not survive a crash of the host.
    pub volatile: bool,
    /// SELinux label of its files, and of the container's other file systems.
    pub label: Option<String>,
}

/// Whom a process runs as.
#[derive(Debug, Clone, Default)]
pub struct User {
    /// `user[:group]`, resolved inside the container; empty: the numbers in the specification.
    pub text: String,
    /// Further groups.
    pub supplemental_groups: Vec<u32>,
    /// More of them, by name.
    pub group_names: Vec<String>,
    /// Leave the image's group file alone.
    pub strict_groups: bool,
}

/// A mount to attach in the container.
#[derive(Debug)]
pub struct VolumeMount {
    /// Where, as in the specification.
    pub destination: String,
    /// A detached mount; it can be attached once.
    pub mount: OwnedFd,
}

/// When a log file is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// At this size, in bytes.
    pub max_size: u64,
    /// Rotated files kept beside the current one.
    pub max_files: u32,
}

/// Where a container's output goes.
#[derive(Debug)]
pub struct Log {
    /// The directory that holds the file.
    pub directory: OwnedFd,
    /// One path component.
    pub file_name: String,
    /// `None`: somebody else rotates, and calls [`crate::Shim::reopen_log`].
    pub rotation: Option<Rotation>,
}

/// Height and width of a terminal, in characters; 0: unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TerminalSize {
    /// Height.
    pub rows: u16,
    /// Width.
    pub columns: u16,
}

/// A container's standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// /dev/null.
    None,
    /// A pipe that attach clients write to and that stays open when they leave.
    Open,
    /// A pipe that ends with the first client's input.
    Once,
}

/// A container's standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerStdio {
    /// Pipes.
    Pipes {
        /// Standard input.
        stdin: Stdin,
    },
    /// A terminal.
    Terminal(TerminalSize),
}

/// The PID namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerPid {
    /// One of its own.
    Own,
    /// The sandbox's shared one.
    Sandbox,
    /// The host's.
    Host,
    /// The one that this running container of the sandbox is in.
    Target(ContainerId),
}

/// The content of an image, mounted read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageMount {
    /// Where, as in the specification.
    pub destination: String,
    /// Layer directories relative to the root's base, the topmost first.
    pub lower: Vec<String>,
    /// File or directory in the image; empty: its root.
    pub sub_path: String,
}

/// Another OCI runtime, which makes a container in place of the one built in.
#[derive(Debug)]
pub struct OtherRuntime {
    /// Its program.
    pub program: PathBuf,
}

/// A container to create.
#[derive(Debug)]
pub struct CreateContainer {
    /// Its id.
    pub id: ContainerId,
    /// OCI runtime specification, as JSON.
    pub spec: Vec<u8>,
    /// Root file system.
    pub root: Root,
    /// Whom it runs as.
    pub user: User,
    /// BPF of the seccomp filter; empty: none.
    pub seccomp: Vec<u8>,
    /// Volumes.
    pub mounts: Vec<VolumeMount>,
    /// Images whose content it sees.
    pub images: Vec<ImageMount>,
    /// Directories of its root that are made where missing and stay writable where the root is not.
    pub own_volumes: Vec<String>,
    /// `None`: output is read and dropped.
    pub log: Option<Log>,
    /// Standard streams.
    pub stdio: ContainerStdio,
    /// PID namespace.
    pub pid: ContainerPid,
    /// Cgroup.
    pub cgroup: CgroupDirectories,
    /// Who makes it; `None`: the runtime built in.
    pub runtime: Option<OtherRuntime>,
    /// Whether the specification has hooks.
    pub hooks: bool,
    /// The host's mount namespace, which another runtime and hooks find their files in.
    pub host_mounts: Option<OwnedFd>,
}

/// Which processes of a container a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalTarget {
    /// The first.
    First,
    /// All.
    All,
}

/// The standard streams of an exec session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecStdio {
    /// Pipes.
    Pipes {
        /// Whether there is an input, /dev/null otherwise.
        stdin: bool,
    },
    /// A terminal.
    Terminal(TerminalSize),
}

/// A program to run in a running container.
#[derive(Debug, Clone)]
pub struct Exec {
    /// Id of the session.
    pub id: ExecId,
    /// The container.
    pub container: ContainerId,
    /// The OCI specification's `process` object, as JSON.
    pub process: Vec<u8>,
    /// Whom it runs as.
    pub user: User,
    /// BPF of the seccomp filter; empty: none.
    pub seccomp: Vec<u8>,
    /// When to kill the session, with an agent or without.
    pub timeout: Option<Duration>,
    /// Standard streams.
    pub stdio: ExecStdio,
}

/// Which streams a client attaches to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attach {
    /// Write to the container's input.
    pub stdin: bool,
    /// Read its output, or its terminal's.
    pub stdout: bool,
    /// Read its error output.
    pub stderr: bool,
}

/// The client's ends of an attachment; they do not block. Closing them detaches.
#[derive(Debug)]
pub struct Attachment {
    /// Write end.
    pub stdin: Option<OwnedFd>,
    /// Read end.
    pub stdout: Option<OwnedFd>,
    /// Read end.
    pub stderr: Option<OwnedFd>,
}
