//! What the caller asks for, and what it gets.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use crate::external::External;
use crate::gate::StartGate;
use crate::hooks::Hooked;
use crate::maker::Birth;
use crate::onlookers::Onlookers;
use crate::reaper::Reaper;
use crate::shared_mount::SharedMount;
use crate::times::Times;
use crate::user_namespace::UserNamespace;
use crate::visit::Home;

/// Whether a container's writable layer is written out when it is unmounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It need not survive a crash of the host: nothing is ever synced.
    Volatile,
    /// It survives.
    Synced,
}

/// Which system calls mount the root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountApi {
    /// The newest the kernel has.
    #[default]
    Newest,
    /// `mount(2)` with short relative names, as on kernels without `lowerdir+`.
    Classic,
}

/// The layers of a container's root file system.
#[derive(Debug, Clone, Copy)]
pub struct Root<'a> {
    /// Directory that the layers' names are relative to.
    pub base: &'a Path,
    /// Layer directories, the topmost first.
    pub lower: &'a [String],
    /// Where writes go; `None` for a root that is only read.
    pub upper: Option<&'a Path>,
    /// Scratch directory on the file system of `upper`.
    pub work: Option<&'a Path>,
    /// Whether writes outlive a crash of the host.
    pub durability: Durability,
    /// Which system calls to use.
    pub mount_api: MountApi,
    /// SELinux label that its files show, and those of the container's other file systems; `None`:
    /// their own.
    pub label: Option<&'a str>,
}

/// The PID namespace of a container.
#[derive(Debug, Clone, Copy)]
pub enum PidMode<'a> {
    /// One of its own.
    New,
    /// The one that a reaper is the first process of.
    Join(&'a Reaper),
    /// The one that a running container's first process, behind this pidfd, lives in.
    Target(BorrowedFd<'a>),
    /// The caller's.
    Host,
}

/// Namespaces to join; `None` stays in the caller's, which is the host's.
#[derive(Debug, Clone, Copy)]
pub struct Namespaces<'a> {
    /// Network.
    pub network: Option<BorrowedFd<'a>>,
    /// System V IPC and POSIX message queues.
    pub ipc: Option<BorrowedFd<'a>>,
    /// Host and domain name.
    pub uts: Option<BorrowedFd<'a>>,
    /// Process ids.
    pub pid: PidMode<'a>,
    /// Users; it owns the others.
    pub user: Option<UserNamespace<'a>>,
}

/// How a process gets into its cgroup.
#[derive(Debug, Clone, Copy)]
pub enum CgroupAttach<'a> {
    /// It writes itself into `tasks` of each of these directories.
    V1(&'a [BorrowedFd<'a>]),
    /// It is born in this directory.
    V2(BorrowedFd<'a>),
    /// It stays where the caller is.
    Stay,
}

/// What to do with the image's /etc/group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupFile {
    /// The user's memberships are added.
    Merge,
    /// It is read for a group named in the user text only (CRI's `Strict`).
    Ignore,
}

/// Whom to run as.
#[derive(Debug, Clone, Copy)]
pub struct UserRequest<'a> {
    /// `user[:group]`, names or numbers, resolved in the container's root; empty: the numbers of the specification hold.
    pub text: &'a str,
    /// Further groups.
    pub supplemental_groups: &'a [u32],
    /// More of them, by their names in the container's group file.
    pub group_names: &'a [String],
    /// What to do with the image's /etc/group.
    pub group_file: GroupFile,
}

/// The standard streams of a process.
#[derive(Debug)]
pub enum Stdio {
    /// Three files.
    Pipes {
        /// `None`: /dev/null.
        stdin: Option<OwnedFd>,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A terminal of the container's own devpts.
    Terminal {
        /// Height; 0: unknown.
        rows: u16,
        /// Width; 0: unknown.
        columns: u16,
    },
}

/// A mount made by somebody else, to be attached in the container.
#[derive(Debug, Clone, Copy)]
pub struct VolumeMount<'a> {
    /// The destination as the specification's mount has it.
    pub destination: &'a str,
    /// A detached mount; it is attached once.
    pub mount: BorrowedFd<'a>,
}

/// The content of an image, to be mounted read-only.
#[derive(Debug, Clone, Copy)]
pub struct ImageMount<'a> {
    /// The destination as the specification's mount has it.
    pub destination: &'a str,
    /// Layer directories below the root's base, the topmost first.
    pub lower: &'a [String],
    /// File or directory in the image; empty: its root.
    pub sub_path: &'a str,
}

/// A container to create.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    /// OCI runtime specification, as JSON.
    pub spec: &'a [u8],
    /// Its root file system.
    pub root: Root<'a>,
    /// Its namespaces.
    pub namespaces: Namespaces<'a>,
    /// The sandbox's /dev/shm.
    pub shm: Option<&'a SharedMount>,
    /// Its cgroup.
    pub cgroup: CgroupAttach<'a>,
    /// Whom its first process runs as.
    pub user: UserRequest<'a>,
    /// BPF of the seccomp filter, 8 bytes an instruction; empty: none.
    pub seccomp: &'a [u8],
    /// Volumes.
    pub mounts: &'a [VolumeMount<'a>],
    /// Images whose content it sees.
    pub images: &'a [ImageMount<'a>],
    /// Directories of its root that are made where missing and stay writable where the root is not.
    pub own_volumes: &'a [String],
    /// Its standard streams.
    pub stdio: Stdio,
    /// Its hooks; `None`: its specification has none. Such a container is made by
    /// [`create_with_hooks`](crate::create_with_hooks).
    pub hooks: Option<&'a Hooked>,
}

/// The user a process runs as, after /etc/passwd and /etc/group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}

/// A container whose first process waits to execute its program.
#[derive(Debug)]
pub struct Created {
    /// The first process, as the caller sees it.
    pub pid: i32,
    /// A handle on it; the caller waits for it and kills through it.
    pub pidfd: OwnedFd,
    /// What it waits for.
    pub gate: StartGate,
    /// What its processes may do to others of their PID namespace.
    pub onlookers: Onlookers,
    /// The master side of its terminal.
    pub terminal: Option<OwnedFd>,
    /// Whom it runs as.
    pub user: ResolvedUser,
    /// How long what took; empty where another runtime has made it.
    pub times: Times,
    /// Set where another runtime has made it.
    pub external: Option<Arc<External>>,
}

/// Where the processes of an exec session live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecPid {
    /// In the PID namespace of the container's first process.
    Container,
    /// In the caller's, as the container does.
    Host,
}

/// A program to run in a running container.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// A pidfd of the container's first process.
    pub container: BorrowedFd<'a>,
    /// Where its processes live.
    pub pid: ExecPid,
    /// Who lives there.
    pub onlookers: Onlookers,
    /// The user namespace of the container, if it has one.
    pub user_namespace: Option<UserNamespace<'a>>,
    /// Where the caller lives.
    pub home: &'a Home,
    /// The OCI specification's `process` object, as JSON.
    pub process: &'a [u8],
    /// Whom it runs as.
    pub user: UserRequest<'a>,
    /// BPF of the seccomp filter; empty: none.
    pub seccomp: &'a [u8],
    /// The container's cgroup.
    pub cgroup: CgroupAttach<'a>,
    /// Its standard streams.
    pub stdio: Stdio,
}

impl ExecRequest<'_> {
    /// Returns who makes the process.
    pub(crate) fn birth(&self) -> Birth {
        match (self.pid, self.onlookers) {
            (ExecPid::Host, _) => Birth::Direct,
            (ExecPid::Container, Onlookers::Bystanders) => Birth::Inside,
            (ExecPid::Container, Onlookers::Tracers) => Birth::Sibling,
        }
    }
}

/// A program that runs in a container.
#[derive(Debug)]
pub struct Execed {
    /// Its process, as the caller sees it.
    pub pid: i32,
    /// A handle on it.
    pub pidfd: OwnedFd,
    /// What it may do to others of its PID namespace.
    pub onlookers: Onlookers,
    /// The master side of its terminal.
    pub terminal: Option<OwnedFd>,
}
