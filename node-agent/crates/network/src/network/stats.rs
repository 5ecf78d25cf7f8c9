//! The state of the network as a whole.

use super::{Network, lock};
use crate::ipam::Pool;

/// How the network is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether bridge and rules are in place; they are made at need.
    pub ready: bool,
    /// Sandbox addresses in use, those of sandboxes that are still leaving included.
    pub addresses_in_use: usize,
    /// Sandbox addresses there are.
    pub addresses: u32,
    /// What does not work as it should.
    pub warnings: Vec<String>,
}

impl Network {
    /// Returns the host's addresses on the bridge, those of the configured range first, of each
    /// range IPv4 first.
    #[must_use]
    pub fn gateways(&self) -> Vec<std::net::IpAddr> {
        let gateways = lock(&self.inner.state).pools.gateways();
        gateways.iter().map(ipnet::IpNet::addr).collect()
    }

    /// Returns how the network is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let ready = lock(&self.inner.base).is_some();
        let warnings = lock(&self.inner.warnings).clone();
        let state = lock(&self.inner.state);
        let pools = state.pools.all();
        Status {
            ready,
            addresses_in_use: pools.iter().map(Pool::in_use).sum(),
            addresses: pools
                .iter()
                .map(Pool::capacity)
                .fold(0, u32::saturating_add),
            warnings,
        }
    }
}
