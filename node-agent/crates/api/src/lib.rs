//! The gRPC edge: CRI v1 for kubelets and `agent.v1` for people and automation.
//!
//! Owns: the translation between messages and the node's own types, and of errors to status
//! codes (`status`). Does not: decide anything. Start reading at [`server`].
#![forbid(unsafe_code)]

mod agent;
mod convert;
mod cri;
mod follow;
mod rpc;
pub mod server;
mod status;

pub use rpc::Calls;
pub use server::{Gate, Identity, Reporter, SERVICES, ServingStatus, router};
