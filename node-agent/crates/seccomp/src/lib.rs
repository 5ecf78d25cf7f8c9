//! Seccomp profiles: the default one, those of callers, and the programs they become.
//!
//! Owns: which system calls a container may make by default (as strict as docker's), the reading
//! of profiles in docker's and OCI's form, and their compilation by libseccomp into the bytes that
//! the kernel loads.
//!
//! Does not: load anything. The agent compiles and keeps ([`Cache`]); the shim loads the bytes
//! between capabilities and exec, and never sees libseccomp.
//!
//! libseccomp gives every unlisted call one answer. Programs probe for new calls and fall back when
//! they get ENOSYS, not when they get EPERM, so calls newer than the profile, or than the library,
//! are answered by instructions of ours put in front of the library's: see `newer.rs`.
//!
//! Start reading at [`Profile`], then [`Cache`].
#![forbid(unsafe_code)]

mod arch;
mod cache;
mod capability;
mod catalogue;
mod compile;
mod error;
#[cfg(test)]
mod interpreter;
mod json;
mod kernel;
mod newer;
mod oci;
mod profile;
mod program;

pub use cache::Cache;
pub use capability::Capabilities;
pub use error::{CompileError, ProfileError};
pub use kernel::KernelVersion;
pub use profile::Profile;
pub use program::Bpf;
