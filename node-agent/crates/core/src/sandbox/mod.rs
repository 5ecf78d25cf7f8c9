//! Sandboxes: groups of containers that share namespaces, a cgroup and a network.
//!
//! Owns: the life cycle, the task that owns each sandbox, and the steps of making and ending one.
//! Does not: know how a namespace or an address is made; the mechanisms one floor down do.
//! Start reading at [`state`], then `actor`.

pub(crate) mod actor;
pub(crate) mod ahead;
pub(crate) mod bandwidth;
pub(crate) mod create;
pub mod error;
pub(crate) mod files;
pub(crate) mod network;
pub(crate) mod recover;
pub(crate) mod remove;
pub mod spec;
pub mod state;
pub(crate) mod stop;
pub(crate) mod update;
pub mod view;

pub use create::Live;
pub use error::{EndError, RunError, StepError, TeardownError};
pub use update::UpdateError;
