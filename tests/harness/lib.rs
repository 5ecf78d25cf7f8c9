//! The test house: starts real things, waits for them with a deadline, and finds what they leave.
//!
//! Owns: the registry, the images, the agent under test, clients, and the search for leaks.
//! Does not: assert behaviour; that is the suites' work, one folder a noun beside this one.
//! Start reading at `agent.rs` and `pod.rs`.
#![forbid(unsafe_code)]

pub mod agent;
pub mod cgroup;
pub mod cluster;
pub mod collector;
pub mod command;
pub mod cri;
pub mod ctl;
pub mod http;
pub mod image;
pub mod leak;
pub mod node;
pub mod pod;
pub mod process;
pub mod proxy;
pub mod registry;
mod settings;
pub mod slot;
pub mod wait;
