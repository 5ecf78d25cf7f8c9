//! Counters of a sandbox's link, and the state of the network as a whole.

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::LinkAttribute;

use super::{Network, lock};
use crate::attachment::BridgeAttachment;
use crate::error::StatsError;
use crate::host::bridge::is_missing;

/// Counters of a sandbox's interface, as the sandbox sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InterfaceStats {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Receive errors.
    pub rx_errors: u64,
    /// Packets dropped on their way in.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Send errors.
    pub tx_errors: u64,
    /// Packets dropped on their way out.
    pub tx_dropped: u64,
}

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
    /// Returns the counters of a sandbox on the bridge.
    ///
    /// # Errors
    /// When its link is gone or the kernel does not answer.
    pub async fn stats(&self, attachment: &BridgeAttachment) -> Result<InterfaceStats, StatsError> {
        let not_found = || StatsError::NotFound {
            sandbox: attachment.sandbox.clone(),
            interface: attachment.interface.clone(),
        };
        let request = self.inner.handle.link().get();
        let mut answers = request.match_name(attachment.interface.clone()).execute();
        let message = match answers.try_next().await {
            Ok(message) => message.ok_or_else(not_found)?,
            Err(error) if is_missing(&error) => return Err(not_found()),
            Err(source) => {
                return Err(StatsError::Read {
                    sandbox: attachment.sandbox.clone(),
                    source,
                });
            }
        };
        let stats = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::Stats64(stats) => Some(*stats),
                _ => None,
            });
        let host = stats.ok_or_else(not_found)?;
        // What one end sends, the other receives.
        Ok(InterfaceStats {
            rx_bytes: host.tx_bytes,
            rx_packets: host.tx_packets,
            rx_errors: host.tx_errors,
            rx_dropped: host.tx_dropped,
            tx_bytes: host.rx_bytes,
            tx_packets: host.rx_packets,
            tx_errors: host.rx_errors,
            tx_dropped: host.rx_dropped,
        })
    }

    /// Returns the host's addresses on the bridge, IPv4 first.
    #[must_use]
    pub fn gateways(&self) -> Vec<std::net::IpAddr> {
        let (ipv4, ipv6) = lock(&self.inner.state).pool.gateways();
        ipv4.map(Into::into)
            .into_iter()
            .chain(ipv6.map(Into::into))
            .collect()
    }

    /// Returns how the network is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let ready = lock(&self.inner.base).is_some();
        let warnings = lock(&self.inner.warnings).clone();
        let state = lock(&self.inner.state);
        Status {
            ready,
            addresses_in_use: state.pool.in_use(),
            addresses: state.pool.capacity(),
            warnings,
        }
    }
}
