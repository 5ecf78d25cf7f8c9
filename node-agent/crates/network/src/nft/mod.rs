//! The packet filter: fixed rules laid down once by the `nft` program, map elements by hand.
//!
//! A published port is one element in a map, so that its cost does not depend on how many there
//! are; a sandbox without ports costs nothing here.

mod element;
mod flows;
mod ruleset;
mod table;
mod wire;

pub(crate) use element::{Change, Element, elements};
pub(crate) use flows::Stale;
pub(crate) use ruleset::{Rules, bridge_ruleset, inet_ruleset};
pub(crate) use table::Table;
