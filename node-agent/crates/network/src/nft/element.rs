//! One published port as a map element.

use std::net::IpAddr;

use crate::attachment::BridgeAttachment;
use crate::port::Scope;

/// The maps of the base rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Map {
    /// One IPv4 address of the host.
    Ports4,
    /// Every IPv4 address of the host.
    AnyPorts4,
    /// One IPv6 address of the host.
    Ports6,
    /// Every IPv6 address of the host.
    AnyPorts6,
}

impl Map {
    /// Every map.
    pub(crate) const ALL: [Self; 4] =
        [Self::Ports4, Self::AnyPorts4, Self::Ports6, Self::AnyPorts6];

    /// Returns its name in the rules.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ports4 => "ports4",
            Self::AnyPorts4 => "any_ports4",
            Self::Ports6 => "ports6",
            Self::AnyPorts6 => "any_ports6",
        }
    }
}

/// A key of a map and where it leads, in the kernel's layout: every part padded to four bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Element {
    /// The map.
    pub(crate) map: Map,
    /// Host address (unless any), protocol and port.
    pub(crate) key: Vec<u8>,
    /// Sandbox address and port.
    pub(crate) data: Vec<u8>,
}

/// A step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The element is to be there.
    Add(Element),
    /// The element is to be gone.
    Delete(Element),
}

impl Change {
    /// Returns the element.
    pub(crate) fn element(&self) -> &Element {
        match self {
            Self::Add(element) | Self::Delete(element) => element,
        }
    }
}

/// Returns the elements that an attachment's published ports need.
pub(crate) fn elements(attachment: &BridgeAttachment) -> Vec<Element> {
    let ipv4 = attachment.ipv4.map(|ip| IpAddr::V4(ip.address.addr()));
    let ipv6 = attachment.ipv6.map(|ip| IpAddr::V6(ip.address.addr()));
    let mut elements = Vec::new();
    for port in &attachment.ports {
        let scope = port.scope();
        let mut add = |map: Map, host: Option<IpAddr>, sandbox: Option<IpAddr>| {
            let Some(sandbox) = sandbox else { return };
            let mut key = host.map(octets).unwrap_or_default();
            key.extend([port.protocol.number(), 0, 0, 0]);
            key.extend(padded(port.host_port));
            let mut data = octets(sandbox);
            data.extend(padded(port.container_port));
            elements.push(Element { map, key, data });
        };
        match scope {
            // The kernel has no way off the loopback for it; a forwarder serves it.
            Scope::One(IpAddr::V6(ip)) if ip.is_loopback() => {}
            Scope::One(host @ IpAddr::V4(_)) => add(Map::Ports4, Some(host), ipv4),
            Scope::One(host @ IpAddr::V6(_)) => add(Map::Ports6, Some(host), ipv6),
            Scope::Any => {
                add(Map::AnyPorts4, None, ipv4);
                add(Map::AnyPorts6, None, ipv6);
            }
            Scope::AnyV4 => add(Map::AnyPorts4, None, ipv4),
            Scope::AnyV6 => add(Map::AnyPorts6, None, ipv6),
        }
    }
    elements
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::{Ipv4Address, Ipv6Address, MacAddress};
    use crate::port::{PortMapping, Protocol};

    fn attachment(host_ip: Option<&str>) -> BridgeAttachment {
        BridgeAttachment {
            sandbox: "s".parse().unwrap(),
            interface: "na".to_owned(),
            mac: MacAddress([0; 6]),
            ipv4: Some(Ipv4Address {
                address: "10.199.0.2/16".parse().unwrap(),
                gateway: "10.199.0.1".parse().unwrap(),
            }),
            ipv6: Some(Ipv6Address {
                address: "fd00::2/64".parse().unwrap(),
                gateway: "fd00::1".parse().unwrap(),
            }),
            ports: vec![PortMapping {
                protocol: Protocol::Tcp,
                host_ip: host_ip.map(|ip| ip.parse().unwrap()),
                host_port: 8080,
                container_port: 80,
            }],
        }
    }

    #[test]
    fn an_element_has_the_kernels_layout() {
        let made = elements(&attachment(Some("192.0.2.1")));
        assert_eq!(
            made,
            [Element {
                map: Map::Ports4,
                key: vec![192, 0, 2, 1, 6, 0, 0, 0, 0x1f, 0x90, 0, 0],
                data: vec![10, 199, 0, 2, 0, 80, 0, 0],
            }]
        );
    }

    #[test]
    fn the_scope_decides_the_maps() {
        let maps = |ip| -> Vec<Map> { elements(&attachment(ip)).iter().map(|e| e.map).collect() };
        assert_eq!(maps(None), [Map::AnyPorts4, Map::AnyPorts6]);
        assert_eq!(maps(Some("0.0.0.0")), [Map::AnyPorts4]);
        assert_eq!(maps(Some("::")), [Map::AnyPorts6]);
        assert_eq!(maps(Some("fd00::9")), [Map::Ports6]);
        assert_eq!(maps(Some("127.0.0.1")), [Map::Ports4]);
        assert_eq!(maps(Some("::1")), []);
    }
}
