//! The daemon as a program: its configuration, its sockets, its signals, and systemd.
#![forbid(unsafe_code)]

mod config;
mod ending;
mod serving;
mod systemd;
