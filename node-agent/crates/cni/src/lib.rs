//! Networks that others make: runs the plugins of a CNI configuration for sandboxes.
//!
//! Owns: the search for a configuration, what each plugin is told and how it is run, the forms
//! that results and errors have in each version of the specification, and the pins that give
//! network namespaces a path.
//! Does not: bring the loopback up, keep records (the caller saves each [`Attachment`] before
//! and after its plugins run), or know pods beyond four words for `CNI_ARGS`.
//!
//! The way of a sandbox: [`Cni::plan`] finds the configuration and returns what will be done;
//! the caller saves it; [`Cni::attach`] pins the namespace and runs ADD, plugin after plugin;
//! the caller saves the result that is in the attachment by then. [`Cni::detach`] runs DEL in
//! the opposite order with nothing but the saved attachment, half made or whole, as often as
//! one likes, also when the configuration has been taken away or the machine was booted since.
//!
//! A plugin runs in a process group of its own with a clean environment, pipes and nothing else
//! of ours; its output is bounded, and when it does not end in time its group is killed.
//!
//! Start reading at [`Cni`], then [`Attachment`].
#![forbid(unsafe_code)]

mod attachment;
mod capability;
mod cni;
mod config;
mod error;
mod plugin;
mod request;
mod result;
mod version;

pub use attachment::{AttachSpec, Attachment, Pod};
pub use capability::{Bandwidth, Capabilities, DnsConfig, PortMapping};
pub use cni::{Cni, Config};
pub use config::{ConfigError, NetworkConfig, SearchError};
pub use error::{
    AttachError, CheckError, DetachError, DetachErrors, GcError, PlanError, StatusError,
};
pub use plugin::{Command, Ending, PluginError};
pub use result::{Dns, NetworkResult, ResultError};
pub use version::{SpecVersion, UnknownVersion};
