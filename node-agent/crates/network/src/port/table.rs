//! Which sandbox holds which port of the host.

use std::collections::HashMap;

use agent_types::SandboxId;

use super::{PortMapping, Protocol, Scope};

/// Every published port of this agent.
#[derive(Debug, Default)]
pub(crate) struct PortTable {
    held: HashMap<(Protocol, u16), Vec<(Scope, SandboxId)>>,
}

impl PortTable {
    /// Returns who holds a port that `mapping` would need.
    pub(crate) fn holder(&self, mapping: &PortMapping) -> Option<&SandboxId> {
        self.held
            .get(&(mapping.protocol, mapping.host_port))?
            .iter()
            .find(|(scope, _)| scope.overlaps(mapping.scope()))
            .map(|(_, sandbox)| sandbox)
    }

    /// Marks the port of `mapping` as held by `sandbox`.
    pub(crate) fn hold(&mut self, mapping: &PortMapping, sandbox: &SandboxId) {
        let holders = self
            .held
            .entry((mapping.protocol, mapping.host_port))
            .or_default();
        holders.push((mapping.scope(), sandbox.clone()));
    }

    /// Gives back the ports of `mappings` that `sandbox` holds.
    pub(crate) fn release(&mut self, mappings: &[PortMapping], sandbox: &SandboxId) {
        for mapping in mappings {
            let key = (mapping.protocol, mapping.host_port);
            if let Some(holders) = self.held.get_mut(&key) {
                holders.retain(|(_, holder)| holder != sandbox);
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
        table.hold(&mapping(Some("127.0.0.1"), 80), &a);
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
