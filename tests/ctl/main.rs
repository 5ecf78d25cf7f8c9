//! `ctl` against a real agent: what it prints, and how it ends.
#![forbid(unsafe_code)]

mod exec;
mod images;
mod life;
mod logs;
mod run;
mod terminal;
