//! The daemon as a program: its configuration, its sockets, its signals, and systemd.
#![forbid(unsafe_code)]

mod config;
mod ending;
mod kubelet_files;
mod metrics;
mod serving;
mod systemd;
mod traces;
