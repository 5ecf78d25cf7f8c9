//! Who has which address, port and link, in memory. Pure.

use std::collections::HashMap;

use agent_types::SandboxId;

use crate::attachment::BridgeAttachment;
use crate::nft::{Element, elements};
use crate::pools::{Number, Pools};
use crate::port::{PortMapping, PortTable, keep};

/// What is known of a sandbox's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    /// Not made, or seen gone.
    Absent,
    /// Made, or about to be.
    Present,
}

/// A sandbox on the bridge.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) attachment: BridgeAttachment,
    /// Its number; none for a record without an address, or with one of another sandbox.
    number: Option<Number>,
    pub(super) link: LinkState,
    /// Its ports are withdrawn; only its address waits for the link to go.
    pub(super) detached: bool,
}

/// Every sandbox on the bridge.
#[derive(Debug)]
pub(super) struct State {
    pub(super) pools: Pools,
    pub(super) ports: PortTable,
    entries: HashMap<SandboxId, Entry>,
    by_interface: HashMap<String, SandboxId>,
    /// Where the search for a free host port goes on.
    pub(super) next_port: u16,
}

impl State {
    pub(super) fn new(pools: Pools, first_port: u16) -> Self {
        Self {
            pools,
            ports: PortTable::default(),
            entries: HashMap::new(),
            by_interface: HashMap::new(),
            next_port: first_port,
        }
    }

    /// Returns a sandbox.
    pub(super) fn get(&self, sandbox: &SandboxId) -> Option<&Entry> {
        self.entries.get(sandbox)
    }

    /// Returns a sandbox.
    pub(super) fn get_mut(&mut self, sandbox: &SandboxId) -> Option<&mut Entry> {
        self.entries.get_mut(sandbox)
    }

    /// Returns whether a link of this name is known.
    pub(super) fn knows_interface(&self, interface: &str) -> bool {
        self.by_interface.contains_key(interface)
    }

    /// Returns whether a sandbox has left whose link of this name is not seen gone.
    pub(super) fn waits_for(&self, interface: &str) -> bool {
        let sandbox = self.by_interface.get(interface);
        let entry = sandbox.and_then(|sandbox| self.entries.get(sandbox));
        entry.is_some_and(|entry| entry.detached)
    }

    /// Returns every sandbox.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Enters a sandbox whose address number is taken already, and holds its ports.
    pub(super) fn insert(&mut self, attachment: BridgeAttachment, number: Option<Number>) {
        let sandbox = attachment.sandbox.clone();
        for port in &attachment.ports {
            self.ports.hold(port, &sandbox, keep(port));
        }
        self.by_interface
            .insert(attachment.interface.clone(), sandbox.clone());
        let entry = Entry {
            attachment,
            number,
            link: LinkState::Absent,
            detached: false,
        };
        self.entries.insert(sandbox, entry);
    }

    /// Enters what a record of an earlier run tells; false when its address belongs to another.
    pub(super) fn adopt(&mut self, attachment: &BridgeAttachment) -> bool {
        if self.entries.contains_key(&attachment.sandbox) {
            return true;
        }
        let ipv4 = attachment.ipv4.map(|ip| ip.address);
        let ipv6 = attachment.ipv6.map(|ip| ip.address);
        let adopted = self.pools.adopt(ipv4, ipv6);
        let ours = adopted.is_none_or(|(_, taken)| taken);
        let number = adopted.filter(|_| ours).map(|(number, _)| number);
        self.insert(attachment.clone(), number);
        ours
    }

    /// Withdraws the ports of a sandbox; returns whether its link must still be seen to go.
    pub(super) fn detach(&mut self, sandbox: &SandboxId) -> bool {
        let Some(entry) = self.entries.get_mut(sandbox) else {
            return false;
        };
        let ports = std::mem::take(&mut entry.attachment.ports);
        entry.detached = true;
        let waits = entry.link == LinkState::Present;
        self.ports.release(&ports, sandbox);
        if !waits {
            self.remove(sandbox);
        }
        waits
    }

    /// Notes that a link is gone, and gives the address back where the sandbox has left.
    pub(super) fn link_gone(&mut self, interface: &str) {
        let Some(sandbox) = self.by_interface.get(interface).cloned() else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&sandbox) else {
            return;
        };
        entry.link = LinkState::Absent;
        if entry.detached {
            self.remove(&sandbox);
        }
    }

    /// Says whether a sandbox is attached and its link there.
    pub(super) fn stands(&self, sandbox: &SandboxId) -> bool {
        let entry = self.entries.get(sandbox);
        entry.is_some_and(|entry| entry.link == LinkState::Present && !entry.detached)
    }

    /// Gives what `from` has to `to`, which has nothing, with further ports.
    pub(super) fn rename(
        &mut self,
        from: &SandboxId,
        to: &SandboxId,
        ports: Vec<PortMapping>,
    ) -> Option<BridgeAttachment> {
        let mut entry = self.entries.remove(from)?;
        for port in &ports {
            self.ports.hold(port, to, keep(port));
        }
        entry.attachment.sandbox = to.clone();
        entry.attachment.ports.extend(ports);
        let attachment = entry.attachment.clone();
        self.by_interface
            .insert(attachment.interface.clone(), to.clone());
        self.entries.insert(to.clone(), entry);
        Some(attachment)
    }

    /// Returns the elements that the published ports of all sandboxes need.
    pub(super) fn elements(&self) -> Vec<Element> {
        let attached = self.entries.values().filter(|entry| !entry.detached);
        attached
            .flat_map(|entry| elements(&entry.attachment))
            .collect()
    }

    fn remove(&mut self, sandbox: &SandboxId) {
        if let Some(entry) = self.entries.remove(sandbox) {
            self.by_interface.remove(&entry.attachment.interface);
            if let Some(number) = entry.number {
                self.pools.release(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use crate::attachment::{Ipv4Address, MacAddress};
    use crate::ipam::Pool;

    fn state() -> State {
        let pool = Pool::new("10.0.0.0/29".parse().ok(), None);
        State::new(Pools::new(pool), 40_000)
    }

    fn in_use(state: &State) -> usize {
        state.pools.all().iter().map(Pool::in_use).sum()
    }

    fn attachment(state: &State, name: &str, number: u32) -> BridgeAttachment {
        BridgeAttachment {
            sandbox: name.parse().unwrap(),
            interface: format!("link-{name}"),
            mac: MacAddress([0; 6]),
            ipv4: state.pools.all()[0]
                .addresses(number)
                .0
                .map(|address| Ipv4Address {
                    address: ipnet::Ipv4Net::new(address, 29).unwrap(),
                    gateway: "10.0.0.1".parse().unwrap(),
                }),
            ipv6: None,
            ports: Vec::new(),
        }
    }

    fn join(state: &mut State, name: &str) -> SandboxId {
        let number = state.pools.allocate(Source::Configured).unwrap();
        let attachment = attachment(state, name, number.number);
        state.insert(attachment, Some(number));
        name.parse().unwrap()
    }

    #[test]
    fn an_address_is_free_only_when_the_link_is_gone() {
        let mut state = state();
        let id = join(&mut state, "a");
        state.get_mut(&id).unwrap().link = LinkState::Present;
        assert!(state.detach(&id));
        assert_eq!(in_use(&state), 1);
        assert!(state.waits_for("link-a") && !state.waits_for("link-b"));
        assert!(state.detach(&id), "detaching twice changes nothing");
        state.link_gone("link-a");
        assert_eq!(in_use(&state), 0);
        assert!(!state.detach(&id));
        assert!(!state.knows_interface("link-a"));
    }

    #[test]
    fn a_link_that_went_first_frees_the_address_at_once() {
        let mut state = state();
        let id = join(&mut state, "a");
        state.get_mut(&id).unwrap().link = LinkState::Present;
        state.link_gone("link-a");
        assert_eq!(in_use(&state), 1, "still reserved");
        assert!(!state.detach(&id));
        assert_eq!(in_use(&state), 0);
    }

    #[test]
    fn records_of_an_earlier_run_take_their_addresses() {
        let mut state = state();
        let first = attachment(&state, "a", 3);
        assert!(state.adopt(&first) && state.adopt(&first));
        let twin = attachment(&state, "b", 3);
        assert!(!state.adopt(&twin), "the address belongs to a");
        state.detach(&"b".parse().unwrap());
        assert_eq!(in_use(&state), 1, "b gave nothing back that is a's");
        let mut elsewhere = attachment(&state, "c", 4);
        elsewhere.ipv4 = None;
        assert!(state.adopt(&elsewhere));
        assert_eq!(state.entries().count(), 2);
    }
}
