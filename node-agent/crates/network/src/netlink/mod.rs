//! Netlink sockets driven by hand, for the few messages that every pod costs.
//!
//! rtnetlink serves everything else; its connection task would add two wake-ups to each request
//! here, and cannot send several messages at once.

mod counters;
pub(crate) mod link;
mod name;
mod socket;
pub(crate) mod watch;

pub use counters::{Counters, InterfaceStats, MOST_INTERFACES};
pub(crate) use name::{interface_name, interface_prefix};
pub(crate) use socket::{Batch, Socket};
pub use socket::{KernelError, Refused};
