//! Makes the kernel forget flows of datagrams whose published port has changed.
//!
//! The rules see only the first packet of a flow. A client that goes on sending from the same
//! port keeps its flow alive, and with it the way to where the port led before: to nobody, or to
//! a sandbox that is gone.

use std::collections::HashMap;
use std::net::{IpAddr, UdpSocket};

use rustix::io::Errno;

use super::Table;
use super::wire::{Attributes, FAMILY_IPV4, FAMILY_IPV6, Writer};
use crate::attachment::BridgeAttachment;
use crate::netlink::KernelError;
use crate::port::{Protocol, Scope};

// Attribute numbers of linux/netfilter/nfnetlink_conntrack.h.
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IPV4_SOURCE: u16 = 1;
const IPV4_DESTINATION: u16 = 2;
const IPV6_SOURCE: u16 = 3;
const IPV6_DESTINATION: u16 = 4;
const PROTOCOL_NUMBER: u16 = 1;
const DESTINATION_PORT: u16 = 3;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
/// The filter compares protocol (bit 3) and destination port (bit 5) of the original direction.
const FILTER_FLAGS: u32 = (1 << 3) | (1 << 5);

/// A flow as the kernel has it.
struct Flow {
    /// Where its first packet was sent to.
    sent_to: IpAddr,
    /// Who answers.
    answered_by: IpAddr,
    /// Its original tuple, as the kernel wants it back to find the flow.
    tuple: Vec<u8>,
}

/// Which flows are to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stale {
    /// The port leads to the sandbox from now on: those that lead elsewhere.
    Elsewhere,
    /// The sandbox is leaving: those that lead to it.
    Here,
}

impl Table {
    /// Forgets the stale flows of every published UDP port of an attachment.
    ///
    /// Kernels before 5.8 cannot list flows by port; there they end by themselves.
    pub(crate) fn forget_stale(&mut self, attachment: &BridgeAttachment, stale: Stale) {
        match self.forget_flows(attachment, stale) {
            Ok(0) => {}
            Ok(flows) => {
                tracing::debug!(sandbox_id = %attachment.sandbox, flows, "flows forgotten")
            }
            Err(error) => {
                tracing::debug!(sandbox_id = %attachment.sandbox, error = %error, "flows could not be forgotten");
            }
        }
    }

    fn forget_flows(
        &mut self,
        attachment: &BridgeAttachment,
        stale: Stale,
    ) -> Result<usize, KernelError> {
        let mut local = HashMap::new();
        let mut forgotten = 0;
        let ipv4 = attachment.ipv4.map(|ip| IpAddr::V4(ip.address.addr()));
        let ipv6 = attachment.ipv6.map(|ip| IpAddr::V6(ip.address.addr()));
        for port in attachment
            .ports
            .iter()
            .filter(|p| p.protocol == Protocol::Udp)
        {
            for (family, sandbox) in [(FAMILY_IPV4, ipv4), (FAMILY_IPV6, ipv6)] {
                let Some(sandbox) = sandbox else { continue };
                let scope = port.scope();
                let wanted = |flow: &Flow| match stale {
                    Stale::Here => flow.answered_by == sandbox,
                    Stale::Elsewhere => {
                        flow.answered_by != sandbox && reaches(scope, flow.sent_to, &mut local)
                    }
                };
                forgotten += self.forget(family, port.host_port, wanted)?;
            }
        }
        Ok(forgotten)
    }

    fn forget(
        &mut self,
        family: u8,
        port: u16,
        wanted: impl FnMut(&Flow) -> bool,
    ) -> Result<usize, KernelError> {
        let request = Writer::list_flows(family, |w| {
            w.nested(TUPLE_ORIGINAL, |w| {
                w.nested(TUPLE_PROTOCOL, |w| {
                    w.bytes(PROTOCOL_NUMBER, &[Protocol::Udp.number()]);
                    w.bytes(DESTINATION_PORT, &port.to_be_bytes());
                });
            });
            w.nested(FILTER, |w| {
                w.bytes(FILTER_ORIGINAL, &FILTER_FLAGS.to_ne_bytes())
            });
        });
        let replies = self.socket().dump(&request)?;
        let flows = replies
            .iter()
            .filter_map(|reply| read(&reply.payload, port));
        let flows: Vec<Flow> = flows.filter(wanted).collect();
        for flow in &flows {
            let request =
                Writer::delete_flow(family, |w| w.bytes_nested(TUPLE_ORIGINAL, &flow.tuple));
            match self.socket().commit(&request) {
                // It has ended by itself.
                Err(error) if error.errno != Errno::NOENT => return Err(error),
                _ => {}
            }
        }
        Ok(flows.len())
    }
}

/// Says whether a port published on `scope` is what a packet to `address` meant.
fn reaches(scope: Scope, address: IpAddr, local: &mut HashMap<IpAddr, bool>) -> bool {
    match scope {
        Scope::One(ip) => ip == address,
        // Flows to other machines pass through here too; only the host's own addresses count,
        // and those can be bound.
        Scope::Any | Scope::AnyV4 | Scope::AnyV6 => *local
            .entry(address)
            .or_insert_with(|| UdpSocket::bind((address, 0)).is_ok()),
    }
}

/// Reads a flow; none where it is not of this port after all.
fn read(payload: &[u8], port: u16) -> Option<Flow> {
    let flow = Attributes::of_payload(payload);
    let original = flow.nested(TUPLE_ORIGINAL);
    let protocol = original.nested(TUPLE_PROTOCOL);
    let same = protocol.get(PROTOCOL_NUMBER)? == [Protocol::Udp.number()]
        && protocol.get(DESTINATION_PORT)? == port.to_be_bytes();
    if !same {
        return None;
    }
    Some(Flow {
        sent_to: address(
            original.nested(TUPLE_IP),
            IPV4_DESTINATION,
            IPV6_DESTINATION,
        )?,
        answered_by: address(
            flow.nested(TUPLE_REPLY).nested(TUPLE_IP),
            IPV4_SOURCE,
            IPV6_SOURCE,
        )?,
        tuple: flow.get(TUPLE_ORIGINAL)?.to_vec(),
    })
}

fn address(ip: Attributes<'_>, ipv4: u16, ipv6: u16) -> Option<IpAddr> {
    if let Some(bytes) = ip.get(ipv4) {
        return Some(IpAddr::from(*bytes.first_chunk::<4>()?));
    }
    Some(IpAddr::from(*ip.get(ipv6)?.first_chunk::<16>()?))
}
