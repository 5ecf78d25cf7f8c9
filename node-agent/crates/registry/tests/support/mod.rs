//! A real registry, a scripted one for faults, and the few bytes of HTTP both need.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "test support: each suite uses a part of it"
)]

pub mod real;
pub mod scripted;
