//! Published ports: what a sandbox asks for, who holds what, and whether the host is in the way.

mod keep;
mod probe;
mod socket;
mod table;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

pub(crate) use keep::keep;
pub(crate) use probe::{Probe, probe};
pub(crate) use socket::{Sharing, bound};
pub(crate) use table::PortTable;

/// Protocols that ports are published for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Transmission control protocol.
    Tcp,
    /// User datagram protocol.
    Udp,
    /// Stream control transmission protocol; not reachable on `[::1]`.
    Sctp,
}

impl Protocol {
    /// Returns the number the protocol has in an IP header.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A port of the host that leads to a port of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortMapping {
    /// Protocol of both sides.
    pub protocol: Protocol,
    /// Address of the host to publish on; every one of both families when absent.
    pub host_ip: Option<IpAddr>,
    /// Port of the host; 0 asks for a free one. Never 0 in an attachment.
    pub host_port: u16,
    /// Port of the sandbox.
    pub container_port: u16,
}

impl PortMapping {
    /// Returns on which addresses of the host the port is published.
    pub(crate) fn scope(&self) -> Scope {
        match self.host_ip {
            None => Scope::Any,
            Some(IpAddr::V4(ip)) if ip.is_unspecified() => Scope::AnyV4,
            Some(IpAddr::V6(ip)) if ip.is_unspecified() => Scope::AnyV6,
            Some(ip) => Scope::One(ip),
        }
    }
}

impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            None => {}
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
        }
        write!(f, "{}/{}", self.host_port, self.protocol)
    }
}

/// The addresses of the host a port is published on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Every address of both families.
    Any,
    /// Every IPv4 address.
    AnyV4,
    /// Every IPv6 address.
    AnyV6,
    /// One address.
    One(IpAddr),
}

impl Scope {
    /// Says whether a port cannot be published on both.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::One(a), Self::One(b)) => a == b,
            _ => (self.has_v4() && other.has_v4()) || (self.has_v6() && other.has_v6()),
        }
    }

    /// Says whether IPv4 addresses are in it.
    pub(crate) fn has_v4(self) -> bool {
        matches!(self, Self::Any | Self::AnyV4 | Self::One(IpAddr::V4(_)))
    }

    /// Says whether IPv6 addresses are in it.
    pub(crate) fn has_v6(self) -> bool {
        matches!(self, Self::Any | Self::AnyV6 | Self::One(IpAddr::V6(_)))
    }

    /// Says whether `[::1]` is in it, which only a forwarder can serve.
    pub(crate) fn has_loopback6(self) -> bool {
        match self {
            Self::Any | Self::AnyV6 => true,
            Self::AnyV4 => false,
            Self::One(ip) => ip == IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(ip: &str) -> Scope {
        Scope::One(ip.parse().unwrap())
    }

    #[test]
    fn scopes_overlap_within_a_family_only() {
        assert!(Scope::Any.overlaps(one("127.0.0.1")));
        assert!(Scope::Any.overlaps(Scope::AnyV6));
        assert!(Scope::AnyV4.overlaps(one("192.0.2.1")));
        assert!(one("192.0.2.1").overlaps(one("192.0.2.1")));
        assert!(!one("192.0.2.1").overlaps(one("192.0.2.2")));
        assert!(!Scope::AnyV4.overlaps(Scope::AnyV6));
        assert!(!Scope::AnyV4.overlaps(one("::1")));
    }

    #[test]
    fn only_what_includes_it_is_served_on_the_ipv6_loopback() {
        assert!(Scope::Any.has_loopback6() && one("::1").has_loopback6());
        assert!(!one("fd00::1").has_loopback6() && !Scope::AnyV4.has_loopback6());
    }

    #[test]
    fn a_mapping_reads_as_people_write_it() {
        let mut mapping = PortMapping {
            protocol: Protocol::Udp,
            host_ip: None,
            host_port: 53,
            container_port: 5353,
        };
        assert_eq!(mapping.to_string(), "53/udp");
        mapping.host_ip = "::1".parse().ok();
        assert_eq!(mapping.to_string(), "[::1]:53/udp");
        assert_eq!(mapping.scope(), one("::1"));
    }
}
