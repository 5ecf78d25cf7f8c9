//! The node's behaviour: sandboxes, containers, processes, images, and what a crash costs them.
//!
//! Owns: every decision and the order of every step. Does not: know gRPC, or any kernel or
//! registry format; the crates one floor down do. Start reading at [`node::Node`], then
//! [`sandbox`].
#![forbid(unsafe_code)]

pub mod container;
mod elsewhere;
pub mod event;
pub mod exec;
mod features;
pub mod gc;
pub mod handler;
pub mod image;
pub mod metrics;
pub mod node;
pub mod pattern;
mod random;
pub mod recovery;
pub mod sandbox;
pub mod services;
mod shim;
pub mod stats;
pub mod ticket;
pub mod time;
