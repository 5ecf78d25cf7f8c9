//! Which addresses are taken: one number per sandbox, the same in both families.
//!
//! Numbers are given out round robin, so that an address that was just returned is the last to
//! be given again: peers and neighbour caches have forgotten it by then.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use agent_types::{Classify, ErrorKind};
use ipnet::{Ipv4Net, Ipv6Net};

/// Number of the gateway in each range.
const GATEWAY: u32 = 1;
/// First number a sandbox can have.
const FIRST: u32 = 2;
/// Largest number given out in a range that has no end to speak of.
const LARGEST: u32 = (1 << 24) - 2;

/// Every address of the subnet is in use.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
#[error("no address is free in subnet {subnet}: all {capacity} are in use")]
pub struct Exhausted {
    /// The range that is full.
    pub subnet: ipnet::IpNet,
    /// How many addresses it has for sandboxes.
    pub capacity: u32,
}

impl Classify for Exhausted {
    fn kind(&self) -> ErrorKind {
        ErrorKind::ResourceExhausted
    }
}

/// The ranges and the numbers taken in them.
#[derive(Debug)]
pub(crate) struct Pool {
    ipv4: Option<Ipv4Net>,
    ipv6: Option<Ipv6Net>,
    last: u32,
    next: u32,
    taken: HashSet<u32>,
}

impl Pool {
    /// Returns an empty pool over the ranges.
    pub(crate) fn new(ipv4: Option<Ipv4Net>, ipv6: Option<Ipv6Net>) -> Self {
        let of_bits = |bits: u32, spare: u32| {
            1_u32
                .checked_shl(bits)
                .map_or(LARGEST, |size| size.saturating_sub(1 + spare))
                .min(LARGEST)
        };
        let last4 = ipv4.map(|net| of_bits(32 - u32::from(net.prefix_len()), 1));
        let last6 = ipv6.map(|net| of_bits(128 - u32::from(net.prefix_len()), 0));
        let last = match (last4, last6) {
            (Some(a), Some(b)) => a.min(b),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => 0,
        };
        Self {
            ipv4,
            ipv6,
            last,
            next: FIRST,
            taken: HashSet::new(),
        }
    }

    /// Returns how many sandboxes fit.
    pub(crate) fn capacity(&self) -> u32 {
        (self.last + 1).saturating_sub(FIRST)
    }

    /// Returns how many numbers are taken.
    pub(crate) fn in_use(&self) -> usize {
        self.taken.len()
    }

    /// Takes the next free number.
    pub(crate) fn allocate(&mut self) -> Result<u32, Exhausted> {
        let capacity = self.capacity();
        if self.taken.len() >= usize::try_from(capacity).unwrap_or(usize::MAX) {
            return Err(self.exhausted());
        }
        // Fewer numbers are taken than exist, so one of the next `capacity` is free.
        for _ in 0..=capacity {
            let number = self.next;
            self.next = if number >= self.last {
                FIRST
            } else {
                number + 1
            };
            if self.taken.insert(number) {
                return Ok(number);
            }
        }
        Err(self.exhausted())
    }

    fn exhausted(&self) -> Exhausted {
        let subnet = self.ipv4.map(ipnet::IpNet::from);
        Exhausted {
            subnet: subnet
                .or(self.ipv6.map(ipnet::IpNet::from))
                .unwrap_or_default(),
            capacity: self.capacity(),
        }
    }

    /// Marks a number as taken; false when it was already, or is outside the range.
    pub(crate) fn take(&mut self, number: u32) -> bool {
        if !(FIRST..=self.last).contains(&number) || !self.taken.insert(number) {
            return false;
        }
        if number >= self.next {
            self.next = if number >= self.last {
                FIRST
            } else {
                number + 1
            };
        }
        true
    }

    /// Gives a number back.
    pub(crate) fn release(&mut self, number: u32) {
        self.taken.remove(&number);
    }

    /// Returns the addresses that `number` stands for.
    pub(crate) fn addresses(&self, number: u32) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        (
            self.ipv4.map(|net| nth4(net, number)),
            self.ipv6.map(|net| nth6(net, number)),
        )
    }

    /// Returns the addresses of the bridge.
    pub(crate) fn gateways(&self) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        self.addresses(GATEWAY)
    }

    /// Returns the ranges.
    pub(crate) fn subnets(&self) -> (Option<Ipv4Net>, Option<Ipv6Net>) {
        (self.ipv4, self.ipv6)
    }

    /// Returns the number of an address of either range, as a record of an earlier run has it.
    pub(crate) fn number_of(&self, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Option<u32> {
        let of4 = || {
            let (net, address) = (self.ipv4?, ipv4?);
            net.contains(&address)
                .then(|| u32::from(address) - u32::from(net.network()))
        };
        let of6 = || {
            let (net, address) = (self.ipv6?, ipv6?);
            let distance = u128::from(address).checked_sub(u128::from(net.network()))?;
            u32::try_from(distance).ok()
        };
        of4()
            .or_else(of6)
            .filter(|n| (FIRST..=self.last).contains(n))
    }
}

fn nth4(net: Ipv4Net, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()).wrapping_add(number))
}

fn nth6(net: Ipv6Net, number: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(net.network()).wrapping_add(u128::from(number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pool(ipv4: &str, ipv6: &str) -> Pool {
        Pool::new(ipv4.parse().ok(), ipv6.parse().ok())
    }

    #[test]
    fn network_gateway_and_broadcast_are_never_given() {
        let mut pool = pool("10.0.0.0/29", "fd00::/64");
        let mut seen = Vec::new();
        while let Ok(number) = pool.allocate() {
            seen.push(pool.addresses(number).0.unwrap().octets()[3]);
        }
        assert_eq!(seen, [2, 3, 4, 5, 6]);
        let error = pool.allocate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(
            error.to_string(),
            "no address is free in subnet 10.0.0.0/29: all 5 are in use"
        );
    }

    #[test]
    fn a_returned_address_is_the_last_to_be_given_again() {
        let mut pool = pool("10.0.0.0/29", "");
        let first = pool.allocate().unwrap();
        pool.release(first);
        let following: Vec<u32> = (0..5).map(|_| pool.allocate().unwrap()).collect();
        assert_eq!(following.last(), Some(&first));
    }

    #[test]
    fn both_families_have_the_same_number() {
        let mut pool = pool("10.199.0.0/16", "fd6e::/64");
        let number = pool.allocate().unwrap();
        let (ipv4, ipv6) = pool.addresses(number);
        assert_eq!(ipv4.unwrap().to_string(), "10.199.0.2");
        assert_eq!(ipv6.unwrap().to_string(), "fd6e::2");
        assert_eq!(pool.number_of(ipv4, None), Some(number));
        assert_eq!(pool.number_of(None, ipv6), Some(number));
        assert_eq!(pool.number_of("10.200.0.2".parse().ok(), None), None);
    }

    #[test]
    fn the_smaller_range_decides_and_ipv6_alone_works() {
        assert_eq!(pool("10.0.0.0/16", "fd00::/120").capacity(), 254);
        assert_eq!(pool("", "fd00::/120").capacity(), 254);
        assert!(pool("", "fd00::/32").capacity() > 1_000_000);
    }

    proptest! {
        #[test]
        fn no_number_is_held_twice(steps in prop::collection::vec((0_u8..3, 0_u32..20), 0..200)) {
            let mut pool = pool("10.0.0.0/28", "fd00::/64");
            let mut held = HashSet::new();
            for (step, value) in steps {
                match step {
                    0 => match pool.allocate() {
                        Ok(number) => prop_assert!(held.insert(number)),
                        Err(_) => prop_assert_eq!(held.len(), 13),
                    },
                    1 => {
                        let taken = pool.take(value);
                        prop_assert_eq!(taken, (2..=14).contains(&value) && held.insert(value));
                    }
                    _ => {
                        held.remove(&value);
                        pool.release(value);
                    }
                }
                prop_assert_eq!(pool.in_use(), held.len());
            }
            for number in held {
                let (ipv4, ipv6) = pool.addresses(number);
                prop_assert_eq!(pool.number_of(ipv4, ipv6), Some(number));
            }
        }
    }
}
