//! The messages that make a sandbox's link and set up its inside.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope,
};
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::{Batch, Refused, Socket};
use crate::attachment::{BridgeAttachment, MacAddress};

/// Name of a sandbox's end of its link.
pub(crate) const GUEST_INTERFACE: &str = "eth0";
/// Index of the loopback in every network namespace.
const LOOPBACK: u32 = 1;

const MAKE_LINK: &str = "make the link";
const FIND_LINK: &str = "find eth0";
const NO_ADDRESS: &str = "keep the kernel from making up an address";
const LINK_LOCAL: &str = "add the link-local address";
const IPV6_ADDRESS: &str = "add the IPv6 address";
const IPV6_ROUTE: &str = "add the IPv6 default route";

/// Prefix length of link-local addresses.
const LINK_LOCAL_PREFIX: u8 = 64;

/// Makes the link: both ends, one inside the namespace, the other on the bridge and up.
///
/// The host's end has no IPv6 address: a port of a bridge needs none, and the kernel would make
/// one up, ask for duplicates and join groups for it.
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
    peer.attributes.extend(one_queue());
    let named = || LinkAttribute::IfName(attachment.interface.clone());
    let mut message = LinkMessage::default();
    message.attributes = vec![
        named(),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Controller(bridge),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    message.attributes.extend(one_queue());
    let mut batch = Batch::default();
    batch.push(
        MAKE_LINK,
        RouteNetlinkMessage::NewLink(message),
        NLM_F_CREATE | NLM_F_EXCL,
    );
    // The kernel takes neither of these in the message that makes the link, and in one message
    // it would do the second first.
    let mut message = LinkMessage::default();
    message.attributes = vec![named(), without_generated_address()];
    batch.push(NO_ADDRESS, RouteNetlinkMessage::SetLink(message), 0);
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = vec![named()];
    batch.push(
        "bring the link up",
        RouteNetlinkMessage::SetLink(message),
        0,
    );
    socket.transact(&batch, knows_no_ipv6).map(drop)
}

/// The queues of one end. Where the number is not given, the kernel makes one for each processor,
/// closes all but the first, and waits for every processor before it goes on.
fn one_queue() -> [LinkAttribute; 2] {
    [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)]
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
    push_link_local(&mut batch, index, attachment.mac);
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
            let off = matches!(step, LINK_LOCAL | IPV6_ADDRESS | IPV6_ROUTE)
                && matches!(
                    errno,
                    Errno::ACCESS | Errno::NETUNREACH | Errno::HOSTUNREACH
                );
            off || knows_no_ipv6(step, errno)
        })
        .map(drop)
}

/// Says whether a refusal only means that the kernel has no IPv6 that would have to be quiet.
fn knows_no_ipv6(step: &'static str, errno: Errno) -> bool {
    matches!(step, NO_ADDRESS | LINK_LOCAL)
        && matches!(errno, Errno::AFNOSUPPORT | Errno::OPNOTSUPP)
}

/// Gives a link that is still down the link-local address the kernel would give it.
///
/// The kernel's own comes with duplicate detection, router solicitations and reports of groups,
/// and the bridge copies each of them to every other sandbox: what one start costs would grow
/// with their number. Nobody else can have this address, and no router is to be found.
fn push_link_local(batch: &mut Batch, index: u32, mac: MacAddress) {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![without_generated_address()];
    batch.push(NO_ADDRESS, RouteNetlinkMessage::SetLink(message), 0);
    let ip = mac.link_local().into();
    push_address(batch, LINK_LOCAL, index, ip, LINK_LOCAL_PREFIX);
}

fn without_generated_address() -> LinkAttribute {
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
        In6AddrGenMode::None,
    )])])
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
    message.header.scope = match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => AddressScope::Link,
        _ => AddressScope::Universe,
    };
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
