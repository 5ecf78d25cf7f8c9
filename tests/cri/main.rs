//! The CRI against a real kernel, a real registry and real images.
#![forbid(unsafe_code)]

mod cdi;
mod container;
mod events;
mod exec;
mod handlers;
mod hooks;
mod image;
mod isolation;
mod lists;
mod log;
mod metrics;
mod mount;
mod pid;
mod refused;
mod resources;
mod rights;
mod runtimes;
mod sandbox;
mod service;
mod stats;
mod stop;
mod target;
mod user;
mod user_namespace;
