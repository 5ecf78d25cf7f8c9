//! Tests of the `ctl` binary against a fake agent: one file for each command.
#![forbid(unsafe_code)]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and is as long as what it expects"
)]

mod attach;
mod completion;
mod containers;
mod create;
mod events;
mod exec;
mod help;
mod help_containers;
mod images;
mod inspect;
mod logs;
mod node;
mod port_forward;
mod ps;
mod pull;
mod run;
mod run_terminal;
mod start;
mod support;
mod usage;
