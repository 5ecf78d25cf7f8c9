//! What joins a sandbox to the network: what was asked for, and what was made.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{BorrowedFd, OwnedFd};

use agent_types::SandboxId;
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::pools::Source;
use crate::port::PortMapping;

/// How a sandbox is joined to the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum ModeSpec {
    /// A network namespace of its own, on our bridge.
    Bridge,
    /// The host's network namespace.
    Host,
    /// A network namespace of its own with nothing but the loopback in it.
    None,
    /// The network namespace of another sandbox.
    Container {
        /// The sandbox that is joined.
        of: SandboxId,
    },
}

/// A request to join a sandbox to the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachSpec {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// How it is joined.
    pub mode: ModeSpec,
    /// Ports of the host that lead to it; bridge mode only.
    pub ports: Vec<PortMapping>,
    /// Whose range its addresses are of; bridge mode only.
    pub source: Source,
}

/// The inside of a sandbox's network namespace, where the mode gives it one of its own.
#[derive(Debug)]
pub struct Guest<'a> {
    /// The namespace. It is not kept: a kept one would keep the link alive.
    pub netns: BorrowedFd<'a>,
    /// An rtnetlink socket that was opened inside.
    pub netlink: OwnedFd,
}

/// A hardware address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Returns the address that goes with a sandbox's: two fixed bytes (locally administered,
    /// "na" in ASCII) and the last four bytes of the IP address.
    pub(crate) fn of(ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Self {
        let [a, b, c, d] = match (ipv4, ipv6) {
            (Some(ip), _) => ip.octets(),
            (None, Some(ip)) => {
                let [.., a, b, c, d] = ip.octets();
                [a, b, c, d]
            }
            (None, None) => [0; 4],
        };
        Self([b'n', b'a', a, b, c, d])
    }

    /// Returns the link-local address that the kernel would make of it (RFC 4291, appendix A).
    pub(crate) fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        let mut octets = [0; 16];
        octets[..2].copy_from_slice(&[0xfe, 0x80]);
        octets[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        octets.into()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MacAddress({self})")
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

/// Not six hexadecimal bytes with colons between them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a hardware address")]
pub struct MacAddressError {
    /// The refused text.
    pub value: String,
}

impl TryFrom<String> for MacAddress {
    type Error = MacAddressError;
    fn try_from(value: String) -> Result<Self, MacAddressError> {
        let mut bytes = [0; 6];
        let mut parts = value.split(':');
        for byte in &mut bytes {
            let parsed = parts
                .next()
                .and_then(|part| u8::from_str_radix(part, 16).ok());
            let Some(parsed) = parsed else {
                return Err(MacAddressError { value });
            };
            *byte = parsed;
        }
        if parts.next().is_some() {
            return Err(MacAddressError { value });
        }
        Ok(Self(bytes))
    }
}

/// An IPv4 address of a sandbox and its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv4Address {
    /// The address with the length of its subnet's prefix.
    pub address: Ipv4Net,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
}

/// An IPv6 address of a sandbox and its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Address {
    /// The address with the length of its subnet's prefix.
    pub address: Ipv6Net,
    /// The bridge's address.
    pub gateway: Ipv6Addr,
}

/// A sandbox on our bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeAttachment {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// Name of the host's end of the link.
    pub interface: String,
    /// Hardware address of the sandbox's end.
    pub mac: MacAddress,
    /// IPv4 address, where the network has IPv4.
    pub ipv4: Option<Ipv4Address>,
    /// IPv6 address, where the network has IPv6.
    pub ipv6: Option<Ipv6Address>,
    /// Published ports, each with a host port that is not 0.
    pub ports: Vec<PortMapping>,
}

/// How a sandbox is joined; alone it suffices to detach it after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Attachment {
    /// On our bridge.
    Bridge(BridgeAttachment),
    /// In the host's network.
    Host {
        /// The sandbox.
        sandbox: SandboxId,
    },
    /// With a loopback only.
    None {
        /// The sandbox.
        sandbox: SandboxId,
    },
    /// In another sandbox's network.
    Container {
        /// The sandbox.
        sandbox: SandboxId,
        /// The sandbox that is joined.
        of: SandboxId,
    },
}

impl Attachment {
    /// Returns the sandbox.
    #[must_use]
    pub fn sandbox(&self) -> &SandboxId {
        match self {
            Self::Bridge(BridgeAttachment { sandbox, .. })
            | Self::Host { sandbox }
            | Self::None { sandbox }
            | Self::Container { sandbox, .. } => sandbox,
        }
    }

    /// Returns the sandbox's own addresses, IPv4 first.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let Self::Bridge(bridge) = self else {
            return Vec::new();
        };
        let ipv4 = bridge.ipv4.map(|ip| IpAddr::V4(ip.address.addr()));
        let ipv6 = bridge.ipv6.map(|ip| IpAddr::V6(ip.address.addr()));
        ipv4.into_iter().chain(ipv6).collect()
    }

    /// Returns the published ports.
    #[must_use]
    pub fn ports(&self) -> &[PortMapping] {
        match self {
            Self::Bridge(bridge) => &bridge.ports,
            Self::Host { .. } | Self::None { .. } | Self::Container { .. } => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attachment_survives_its_record() {
        let attachment = Attachment::Bridge(BridgeAttachment {
            sandbox: "s1".parse().unwrap(),
            interface: "naabc0123456789".to_owned(),
            mac: MacAddress::of("10.199.0.2".parse().ok(), None),
            ipv4: Some(Ipv4Address {
                address: "10.199.0.2/16".parse().unwrap(),
                gateway: "10.199.0.1".parse().unwrap(),
            }),
            ipv6: None,
            ports: Vec::new(),
        });
        let text = serde_json::to_string(&attachment).unwrap();
        assert!(text.contains("\"mode\":\"bridge\"") && text.contains("6e:61:0a:c7:00:02"));
        assert_eq!(
            serde_json::from_str::<Attachment>(&text).unwrap(),
            attachment
        );
    }

    #[test]
    fn hardware_addresses_are_local_and_unicast() {
        let mac = MacAddress::of(None, "fd00::1:2".parse().ok());
        assert_eq!(mac.to_string(), "6e:61:00:01:00:02");
        assert_eq!(mac.0[0] & 0b11, 0b10);
        for bad in ["", "6e:61", "6e:61:00:01:00:02:03", "zz:61:00:01:00:02"] {
            assert!(MacAddress::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
