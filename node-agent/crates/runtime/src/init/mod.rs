//! The child's side: everything between the clone and the program.
//!
//! Owns: turning the calling process, a copy of the maker with one thread, into a container's process; its functions run in
//! the order of [`create`] and [`exec`]. Does not: return to the maker's code; the child ends in `execve` or `_exit`.
//!
//! Every path of an image or a specification goes through [`in_root::InRoot`], and mounts are attached on descriptors, so that a
//! link swapped meanwhile redirects nothing. The child may allocate: its maker has one thread, so no lock is held by another.

mod cgroup;
pub(crate) mod create;
mod credentials;
mod devices;
pub(crate) mod exec;
mod images;
mod in_root;
pub(crate) mod keeper;
pub(crate) mod labels;
mod launch;
pub(crate) mod lookup;
mod masks;
mod mount_options;
mod mounts;
mod own_volumes;
mod passwd;
mod process;
mod program;
pub(crate) mod reaper;
mod root;
mod terminal;
mod user_namespace;

use crate::failure::Failure;

pub(crate) use root::copy_of_error;

/// What a step of the child's side returns.
pub(crate) type Step<T> = Result<T, Failure>;
