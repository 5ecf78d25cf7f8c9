//! The embedded OCI runtime: makes a process into a container, with no runtime binary executed.
//!
//! Owns: what happens between `clone3` and `execve`: namespaces, root file system, mounts, devices, users, capabilities,
//! seccomp. Does not: make cgroups or network links (it is given directories and namespaces), copy stdio, wait for exits,
//! or keep anything on disk. Its caller is the shim, a process with a single thread.
//!
//! ```text
//! create:  shim ──clone3──▶ child: cgroup, namespaces, root, mounts, pivot, masks ──report──▶ waits at the gate
//!          gate.start() ──▶ child: capabilities, seccomp, execve ──end of file──▶ started
//! ```
//!
//! **Nobody is born among strangers.** A process in a PID namespace that others already live in can be traced by any of them
//! that has `CAP_SYS_PTRACE`, whatever its dumpable flag; `CAP_PERFMON` and `CAP_SYS_ADMIN` show its maps. So an exec session, and a container that joins a shared PID
//! namespace, are prepared by a helper outside of it; only when root, descriptors and capabilities are the container's does
//! the helper fork the real process into the namespace, as its own sibling. Where nobody in the namespace was ever granted any of
//! them ([`Onlookers`]), a session needs no helper: it is forked straight into the container's namespaces ([`Home`]).
//!
//! A container with hooks is made, and started, by a helper that runs them: `hooks`.
//!
//! Another OCI runtime may make a container instead: `external` drives it, and its container is handled as one of ours.
//!
//! Start reading at [`create()`], then `init/create.rs`, which is the child's side in order.
#![forbid(unsafe_code)]

mod channel;
mod create;
mod creation;
mod error;
mod exec;
mod external;
mod failure;
mod gate;
mod hooks;
mod init;
mod maker;
mod onlookers;
mod procfs;
mod reaper;
mod request;
mod shared_mount;
mod starting;
mod sysctl;
mod times;
mod user_namespace;
mod visit;

pub use channel::ChannelError;
pub use create::create;
pub use creation::Creation;
pub use error::{
    CreateError, ExecError, ReaperError, SharedMountError, StartError, SysctlError,
    UserNamespaceError,
};
pub use exec::exec;
pub use external::{
    Deletion, Execution, External, ExternalRequest, Run as RuntimeRun, create as create_external,
};
pub use failure::{Failure, FailureKind};
pub use gate::{Opened, StartGate};
pub use hooks::{Ending, Hooked, create_with_hooks};
pub use onlookers::Onlookers;
pub use procfs::keep_procfs;
pub use reaper::{Reaper, ReaperRequest, start_reaper};
pub use request::{
    CgroupAttach, CreateRequest, Created, Durability, ExecPid, ExecRequest, Execed, GroupFile,
    ImageMount, MountApi, Namespaces, PidMode, ResolvedUser, Root, Stdio, UserRequest, VolumeMount,
};
pub use shared_mount::SharedMount;
pub use starting::{Started, Starting};
pub use sysctl::write_sysctls;
pub use times::Times;
pub use user_namespace::{
    IdMapping, IdMappings, OwnedNamespaces, UserNamespace, make_user_namespace,
};
pub use visit::Home;
