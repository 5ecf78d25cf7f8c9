//! From what a caller and an image ask for to an OCI runtime specification. Pure: no file is read.
//!
//! Owns: how an image's defaults and a request are merged, every default a container gets, and
//! the refusal of what cannot be (so that it is refused when a container is created, not when it
//! starts).
//!
//! Does not: look users up (the shim does, inside the container's root), touch cgroups, compile
//! seccomp filters, or know any wire format. Image facts are an attacker's words here: they
//! become arguments, environment, a directory and a user, and nothing else.
//!
//! Start reading at [`build()`], then [`ContainerPlan`].
#![forbid(unsafe_code)]

mod build;
mod capability;
mod command;
mod device;
mod environment;
mod error;
mod exec;
mod hook;
mod mount;
mod path;
mod plan;
mod rlimit;
mod signal;
mod sysctl;
mod user;

pub use build::{Built, build};
pub use error::PlanError;
pub use exec::{ExecPlan, ExecProcess, process_for_exec};
pub use mount::{MountPlan, MountSource, Propagation};
pub use oci_spec::runtime as spec;
pub use path::clean_destination;
pub use plan::{
    CapabilityPlan, ContainerPlan, DevicePlan, HookPlan, ImageDefaults, Namespace, Namespaces,
    Rlimit,
};
pub use signal::parse_signal;
pub use sysctl::check_sysctls;
