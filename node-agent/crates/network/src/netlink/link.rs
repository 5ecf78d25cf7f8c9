//! The messages that make a sandbox's link and set up its inside.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope,
};
use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::{Batch, Refused, Socket};
use crate::attachment::BridgeAttachment;

/// Name of a sandbox's end of its link.
pub(crate) const GUEST_INTERFACE: &str = "eth0";
/// Index of the loopback in every network namespace.
const LOOPBACK: u32 = 1;

const MAKE_LINK: &str = "make the link";
const FIND_LINK: &str = "find eth0";
const IPV6_ADDRESS: &str = "add the IPv6 address";
const IPV6_ROUTE: &str = "add the IPv6 default route";

/// Makes the link: both ends, one inside the namespace, the other on the bridge and up.
pub(crate) fn create(
    socket: &mut Socket,
    attachment: &BridgeAttachment,
    netns: BorrowedFd<'_>,
    bridge: u32,
    mtu: u32,
) -> Result<(), Refused> {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(GUEST_INTERFACE.to_owned()),
        LinkAttribute::Address(attachment.mac.0.to_vec()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::NetNsFd(netns.as_raw_fd()),
    ];
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = vec![
        LinkAttribute::IfName(attachment.interface.clone()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Controller(bridge),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    let mut batch = Batch::default();
    batch.push(
        MAKE_LINK,
        RouteNetlinkMessage::NewLink(message),
        NLM_F_CREATE | NLM_F_EXCL,
    );
    socket.transact(&batch, |_, _| false).map(drop)
}

/// Lets frames leave through the port they came from.
///
/// Where the kernel filters bridged packets as routed ones (br_netfilter), a sandbox reaches its
/// own published port inside the bridge, on one port.
pub(crate) fn allow_hairpin(socket: &mut Socket, interface: &str) -> Result<(), Refused> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(interface.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(
                true,
            )])),
        ]),
    ];
    let mut batch = Batch::default();
    batch.push(
        "let the link reflect",
        RouteNetlinkMessage::NewLink(message),
        0,
    );
    socket.transact(&batch, |_, _| false).map(drop)
}

/// Deletes a link of the caller's namespace by name; one that is gone is no error.
pub(crate) fn delete(socket: &mut Socket, interface: &str) -> Result<(), Refused> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(interface.to_owned())];
    let mut batch = Batch::default();
    batch.push("delete the link", RouteNetlinkMessage::DelLink(message), 0);
    socket
        .transact(&batch, |_, errno| errno == Errno::NODEV)
        .map(drop)
}

/// Brings the loopback up inside a namespace whose socket is given.
pub(crate) fn loopback_up(socket: &mut Socket) -> Result<(), Refused> {
    let mut batch = Batch::default();
    push_up(&mut batch, "bring the loopback up", LOOPBACK);
    socket.transact(&batch, |_, _| false).map(drop)
}

/// Sets up the inside of a namespace: loopback, addresses, link, default routes.
///
/// The link's index is asked for first, because a namespace may be born with tunnels in it;
/// everything else is one batch.
pub(crate) fn configure(socket: &mut Socket, attachment: &BridgeAttachment) -> Result<(), Refused> {
    let index = guest_index(socket)?;
    let mut batch = Batch::default();
    push_up(&mut batch, "bring the loopback up", LOOPBACK);
    if let Some(ip) = attachment.ipv4 {
        let prefix = ip.address.prefix_len();
        push_address(
            &mut batch,
            "add the IPv4 address",
            index,
            ip.address.addr().into(),
            prefix,
        );
    }
    if let Some(ip) = attachment.ipv6 {
        let prefix = ip.address.prefix_len();
        push_address(
            &mut batch,
            IPV6_ADDRESS,
            index,
            ip.address.addr().into(),
            prefix,
        );
    }
    push_up(&mut batch, "bring eth0 up", index);
    if let Some(ip) = attachment.ipv4 {
        push_route(
            &mut batch,
            "add the IPv4 default route",
            index,
            ip.gateway.into(),
        );
    }
    if let Some(ip) = attachment.ipv6 {
        push_route(&mut batch, IPV6_ROUTE, index, ip.gateway.into());
    }
    socket
        .transact(&batch, |step, errno| {
            // A sandbox may switch IPv6 off by sysctl; it then does without.
            matches!(step, IPV6_ADDRESS | IPV6_ROUTE)
                && matches!(
                    errno,
                    Errno::ACCESS | Errno::NETUNREACH | Errno::HOSTUNREACH
                )
        })
        .map(drop)
}

fn guest_index(socket: &mut Socket) -> Result<u32, Refused> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(GUEST_INTERFACE.to_owned())];
    let mut batch = Batch::default();
    batch.push(FIND_LINK, RouteNetlinkMessage::GetLink(message), 0);
    let replies = socket.transact(&batch, |_, _| false)?;
    // The index stands in the fixed part of the answer.
    let bytes = replies
        .iter()
        .find_map(|reply| reply.payload.get(4..)?.first_chunk::<4>());
    bytes
        .map(|bytes| u32::from_ne_bytes(*bytes))
        .ok_or(Refused {
            step: FIND_LINK,
            source: Errno::NODATA.into(),
        })
}

fn push_up(batch: &mut Batch, step: &'static str, index: u32) {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    batch.push(step, RouteNetlinkMessage::SetLink(message), 0);
}

fn push_address(batch: &mut Batch, step: &'static str, index: u32, ip: IpAddr, prefix: u8) {
    let mut message = AddressMessage::default();
    message.header.family = family(ip);
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.header.scope = AddressScope::Universe;
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    match ip {
        IpAddr::V4(ip) => {
            let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            let broadcast = (u32::from(ip) | host_bits).into();
            message
                .attributes
                .push(AddressAttribute::Broadcast(broadcast));
        }
        // Nobody else can have it: no need to wait a second to find out.
        IpAddr::V6(_) => message
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    batch.push(
        step,
        RouteNetlinkMessage::NewAddress(message),
        NLM_F_CREATE | NLM_F_EXCL,
    );
}

fn push_route(batch: &mut Batch, step: &'static str, index: u32, gateway: IpAddr) {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    let gateway = match gateway {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    };
    message.attributes = vec![RouteAttribute::Gateway(gateway), RouteAttribute::Oif(index)];
    batch.push(
        step,
        RouteNetlinkMessage::NewRoute(message),
        NLM_F_CREATE | NLM_F_EXCL,
    );
}

fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
