//! The built-in network: a bridge, addresses, masquerade and published ports for sandboxes.
//!
//! Owns: one bridge with its sysctls, two nftables tables, the links of sandboxes on the bridge,
//! the addresses in its subnets, and the host ports that lead to sandboxes.
//! Does not: make network namespaces (the shim does), keep records (the caller saves each
//! [`Attachment`] and [`HostChanges`]), or write files ([`files`] only says what is in them).
//!
//! The way of a sandbox: [`Network::reserve`] picks address and ports in memory; the caller
//! saves the [`Attachment`]; [`Network::attach`] makes one link with its peer inside, sets up
//! the inside in one batch, and publishes ports in one transaction; [`Network::detach`] takes
//! the ports away and leaves the link to die with its namespace, because deleting it costs
//! fifteen milliseconds. [`Network::recover`] takes the records of an earlier run.
//!
//! Where a published port is reached from, and by what:
//!
//! | from | by |
//! |---|---|
//! | other machines, other sandboxes, the sandbox itself | rules, `prerouting` |
//! | the host, its own addresses and 127.0.0.1 | rules, `output`; they work without the agent |
//! | the host, `[::1]` | a forwarder in the agent: the kernel cannot route `::1` |
//!
//! Start reading at [`Network`], then [`Attachment`].
#![forbid(unsafe_code)]

mod attachment;
mod config;
mod error;
pub mod files;
mod forward;
mod host;
mod ipam;
mod netlink;
mod network;
mod nft;
mod pools;
mod port;

pub use attachment::{
    AttachSpec, Attachment, BridgeAttachment, Guest, Ipv4Address, Ipv6Address, MacAddress,
    MacAddressError, ModeSpec,
};
pub use config::{Config, ConfigProblem, ConfigProblems};
pub use error::{
    AttachError, OpenError, PortHolder, PrepareError, RangesError, RecoverError, ReserveError,
    TeardownError, TeardownErrors,
};
pub use host::overlap::Occupant;
pub use host::rules::RulesError;
pub use host::sysctl::SysctlError;
pub use host::{HostChanges, Ledger, LedgerError, SysctlChange};
pub use ipam::Exhausted;
pub use netlink::{Counters, InterfaceStats, KernelError, MOST_INTERFACES, Refused};
pub use network::{Network, Recovery, Status};
pub use pools::Source;
pub use port::{PortMapping, Protocol};
