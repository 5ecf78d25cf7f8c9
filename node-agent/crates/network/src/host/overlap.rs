//! Whether a subnet is free on this host.

use std::fmt;

use ipnet::IpNet;

/// Something of the host's that lies in one of our subnets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occupant {
    /// An address of an interface.
    Address {
        /// The address and its prefix.
        address: IpNet,
        /// The interface.
        interface: String,
    },
    /// A route.
    Route {
        /// Where it leads to.
        destination: IpNet,
        /// The interface it leaves by.
        interface: String,
    },
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, interface } => {
                write!(f, "address {address} of interface {interface}")
            }
            Self::Route {
                destination,
                interface,
            } => write!(f, "the route to {destination} by interface {interface}"),
        }
    }
}

impl Occupant {
    fn range(&self) -> IpNet {
        match self {
            Self::Address { address, .. } => *address,
            Self::Route { destination, .. } => *destination,
        }
    }
}

/// Returns the first pair of a subnet and what lies in it. Default routes lie in nothing.
pub(crate) fn find(subnets: &[IpNet], occupants: &[Occupant]) -> Option<(IpNet, Occupant)> {
    let overlap = |a: IpNet, b: IpNet| a.contains(&b.network()) || b.contains(&a.network());
    for subnet in subnets {
        for occupant in occupants {
            let range = occupant.range();
            if range.prefix_len() > 0 && overlap(*subnet, range.trunc()) {
                return Some((*subnet, occupant.clone()));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(to: &str) -> Occupant {
        Occupant::Route {
            destination: to.parse().unwrap(),
            interface: "eth0".to_owned(),
        }
    }

    #[test]
    fn wider_and_narrower_ranges_are_found() {
        let subnets = [
            "10.199.0.0/16".parse().unwrap(),
            "fd00::/64".parse().unwrap(),
        ];
        for inside in ["10.0.0.0/8", "10.199.7.0/24", "fd00::9/128", "fd00::/48"] {
            let found = find(&subnets, &[route("192.0.2.0/24"), route(inside)]);
            assert_eq!(found.map(|(_, o)| o), Some(route(inside)), "{inside}");
        }
        for outside in ["0.0.0.0/0", "::/0", "10.198.0.0/16", "fd01::/64"] {
            assert_eq!(find(&subnets, &[route(outside)]), None, "{outside}");
        }
    }

    #[test]
    fn both_sides_are_named() {
        let address = Occupant::Address {
            address: "10.199.0.7/24".parse().unwrap(),
            interface: "eth1".to_owned(),
        };
        assert_eq!(
            address.to_string(),
            "address 10.199.0.7/24 of interface eth1"
        );
    }
}
