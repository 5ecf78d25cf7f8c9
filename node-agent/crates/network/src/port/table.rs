//! Which sandbox holds which port of the host.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use agent_types::SandboxId;

use super::{PortMapping, Protocol, Scope};

/// Every published port of this agent.
#[derive(Debug, Default)]
pub(crate) struct PortTable {
    held: HashMap<(Protocol, u16), Vec<Holder>>,
}

/// Who holds a port, and on which addresses.
#[derive(Debug)]
struct Holder {
    scope: Scope,
    sandbox: SandboxId,
    /// What keeps it from the host's programs.
    _kept: Vec<OwnedFd>,
}

impl PortTable {
    /// Returns who holds a port that `mapping` would need.
    pub(crate) fn holder(&self, mapping: &PortMapping) -> Option<&SandboxId> {
        self.held
            .get(&(mapping.protocol, mapping.host_port))?
            .iter()
            .find(|holder| holder.scope.overlaps(mapping.scope()))
            .map(|holder| &holder.sandbox)
    }

    /// Marks the port of `mapping` as held by `sandbox`; `kept` are the sockets that occupy it.
    pub(crate) fn hold(&mut self, mapping: &PortMapping, sandbox: &SandboxId, kept: Vec<OwnedFd>) {
        let holders = self
            .held
            .entry((mapping.protocol, mapping.host_port))
            .or_default();
        holders.push(Holder {
            scope: mapping.scope(),
            sandbox: sandbox.clone(),
            _kept: kept,
        });
    }

    /// Gives back the ports of `mappings` that `sandbox` holds.
    pub(crate) fn release(&mut self, mappings: &[PortMapping], sandbox: &SandboxId) {
        for mapping in mappings {
            let key = (mapping.protocol, mapping.host_port);
            if let Some(holders) = self.held.get_mut(&key) {
                holders.retain(|holder| holder.sandbox != *sandbox);
                if holders.is_empty() {
                    self.held.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(ip: Option<&str>, port: u16) -> PortMapping {
        PortMapping {
            protocol: Protocol::Tcp,
            host_ip: ip.map(|ip| ip.parse().unwrap()),
            host_port: port,
            container_port: 80,
        }
    }

    #[test]
    fn a_port_has_one_holder_per_address() {
        let mut table = PortTable::default();
        let (a, b): (SandboxId, SandboxId) = ("a".parse().unwrap(), "b".parse().unwrap());
        table.hold(&mapping(Some("127.0.0.1"), 80), &a, Vec::new());
        assert_eq!(table.holder(&mapping(None, 80)), Some(&a));
        assert_eq!(table.holder(&mapping(Some("192.0.2.1"), 80)), None);
        assert_eq!(table.holder(&mapping(None, 81)), None);
        table.release(&[mapping(Some("127.0.0.1"), 80)], &b);
        assert_eq!(table.holder(&mapping(None, 80)), Some(&a));
        table.release(&[mapping(Some("127.0.0.1"), 80)], &a);
        assert_eq!(table.holder(&mapping(None, 80)), None);
        assert!(table.held.is_empty());
    }
}
