//! The agent or a shim is killed at any moment, and everything goes on.
#![forbid(unsafe_code)]

mod boot;
mod local_sweep;
mod running;
mod shim;
mod shim_sweep;
mod sweep;
