//! Making processes and confining the calling one.
//!
//! Owns: `clone3` used as fork, signals, capabilities, seccomp, sessions, and the last steps before `execve`.
//! Does not: decide what a container may do; know any specification.
//! Everything here acts on the calling thread, which must be the only one of its process where the text says so.

mod clone;
mod confine;
mod fds;
mod open;
mod stand_in;

pub use clone::{Child, Fork, ForkError, Forked, Relation, fork, leave};
pub use confine::{
    capability_set, drop_bounding_except, join_new_session_keyring, let_kernel_reap, load_seccomp,
    reset_signals, set_ambient, set_credentials, set_hostname_and_domain,
};
pub use fds::{close_all, keep_descriptors_from_programs, keep_stdio_and, place_stdio};
pub use open::{OpenFiles, open_files, open_files_limit};
pub use stand_in::StandIn;
