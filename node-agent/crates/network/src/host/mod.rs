//! What the network changes on the host: a bridge, rules, and a few sysctls.
//!
//! Each change is told to the ledger before it is made, and can be undone from the ledger alone.

pub(crate) mod bridge;
mod changes;
pub(crate) mod overlap;
pub(crate) mod rules;
pub(crate) mod sysctl;
pub(crate) mod turn;

pub(crate) use changes::Mark;
pub use changes::{HostChanges, Ledger, LedgerError, SysctlChange};
