//! `ctl` against a real agent: what it prints, and how it ends.
#![forbid(unsafe_code)]

mod exec;
mod flags;
mod forward;
mod images;
mod life;
mod logs;
mod lost;
mod mistakes;
mod restart;
mod run;
mod session;
mod terminal;
