//! The bridge and what must be known of the host's other links.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

use super::overlap::Occupant;
use crate::attachment::MacAddress;

/// Largest MTU a veth and a bridge take.
const MAX_MTU: u32 = 65_535;

/// A link of the host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Link {
    /// Its index.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Its note.
    pub(crate) alias: String,
    /// The bridge or bond it belongs to.
    pub(crate) controller: Option<u32>,
    /// Its MTU.
    pub(crate) mtu: u32,
    /// Whether it is a bridge.
    pub(crate) is_bridge: bool,
    /// Whether it is one end of a veth pair.
    pub(crate) is_veth: bool,
    /// Whether it is a loopback.
    pub(crate) is_loopback: bool,
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            is_loopback: message.header.flags.contains(LinkFlags::Loopback),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::IfAlias(alias) => link.alias = alias,
                LinkAttribute::Controller(index) => link.controller = Some(index),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::LinkInfo(infos) => {
                    link.is_bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
                    link.is_veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
                }
                _ => {}
            }
        }
        link
    }
}

/// How often a listing is begun again while another one has the socket.
const ATTEMPTS: usize = 50;

/// How long each of them may take, about.
const PAUSE: Duration = Duration::from_millis(2);

/// Lists something. A socket has one listing at a time, and the kernel answers EBUSY to whoever
/// comes second (`__netlink_dump_start`): that one begins again.
async fn listed<T, F>(list: impl Fn() -> F) -> Result<Vec<T>, rtnetlink::Error>
where
    F: Future<Output = Result<Vec<T>, rtnetlink::Error>>,
{
    for _ in 1..ATTEMPTS {
        match list().await {
            Err(rtnetlink::Error::NetlinkError(message))
                if message.raw_code() == -rustix::io::Errno::BUSY.raw_os_error() =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
    list().await
}

/// Returns every link of the host.
pub(crate) async fn links(handle: &Handle) -> Result<Vec<Link>, rtnetlink::Error> {
    let list = || {
        let links = handle.link().get().execute();
        links.map_ok(Link::from).try_collect()
    };
    listed(list).await
}

/// Returns the link with a name.
pub(crate) fn find(links: &[Link], name: &str) -> Option<Link> {
    links.iter().find(|link| link.name == name).cloned()
}

/// What the host's routes tell.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// Addresses and routes of others.
    pub(crate) occupants: Vec<Occupant>,
    /// MTU of the interface of the default route.
    pub(crate) mtu: Option<u32>,
}

/// Looks at the addresses and routes of every link but `ours`.
pub(crate) async fn surroundings(
    handle: &Handle,
    links: &[Link],
    ours: Option<u32>,
) -> Result<Surroundings, rtnetlink::Error> {
    let name_of = |index: u32| {
        let link = links.iter().find(|link| link.index == index);
        link.map_or_else(|| format!("{index}"), |link| link.name.clone())
    };
    let mut found = Surroundings::default();
    let addresses = listed(|| handle.address().get().execute().try_collect());
    let addresses: Vec<AddressMessage> = addresses.await?;
    for message in addresses.iter().filter(|m| Some(m.header.index) != ours) {
        if let Some(address) = address_of(message) {
            found.occupants.push(Occupant::Address {
                address,
                interface: name_of(message.header.index),
            });
        }
    }
    let of4 = RouteMessageBuilder::<std::net::Ipv4Addr>::new().build();
    let of6 = RouteMessageBuilder::<std::net::Ipv6Addr>::new().build();
    for request in [of4, of6] {
        let list = || {
            let routes = handle.route().get(request.clone());
            routes.execute().try_collect()
        };
        let routes: Vec<RouteMessage> = listed(list).await?;
        for route in routes
            .iter()
            .filter(|r| r.header.kind == RouteType::Unicast)
        {
            let (destination, interface) = parts_of(route);
            let Some(interface) = interface.filter(|index| Some(*index) != ours) else {
                continue;
            };
            match destination {
                None => {
                    let link = links.iter().find(|link| link.index == interface);
                    found.mtu = found.mtu.or(link.map(|link| link.mtu.min(MAX_MTU)));
                }
                Some(destination) => found.occupants.push(Occupant::Route {
                    destination,
                    interface: name_of(interface),
                }),
            }
        }
    }
    Ok(found)
}

fn address_of(message: &AddressMessage) -> Option<IpNet> {
    // A point-to-point address names its peer first; the range is the peer's.
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => IpNet::new(*ip, message.header.prefix_len).ok(),
            _ => None,
        })
}

fn parts_of(route: &RouteMessage) -> (Option<IpNet>, Option<u32>) {
    let (mut destination, mut interface) = (None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => {
                destination = Some(IpAddr::V4(*ip));
            }
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => {
                destination = Some(IpAddr::V6(*ip));
            }
            RouteAttribute::Oif(index) => interface = Some(*index),
            _ => {}
        }
    }
    let prefix = route.header.destination_prefix_length;
    (
        destination.and_then(|ip| IpNet::new(ip, prefix).ok()),
        interface,
    )
}

/// Makes the bridge, down and without addresses.
pub(crate) async fn create(
    handle: &Handle,
    name: &str,
    mac: MacAddress,
    mtu: u32,
) -> Result<(), rtnetlink::Error> {
    // A fixed hardware address: a bridge's own follows its ports, and every port that leaves
    // would make the sandboxes' neighbour caches stale. Snooping buys nothing on a bridge of
    // one machine, and loses neighbour solicitations where nobody asks for reports.
    let message = LinkMessageBuilder::<LinkBridge>::new(name)
        .address(mac.0.to_vec())
        .mtu(mtu)
        .mcast_snooping(false)
        .build();
    handle.link().add(message).execute().await
}

/// Sets the note on the bridge.
pub(crate) async fn set_alias(
    handle: &Handle,
    index: u32,
    alias: &str,
) -> Result<(), rtnetlink::Error> {
    let message = LinkUnspec::new_with_index(index).alias(alias).build();
    handle.link().set(message).execute().await
}

/// Gives the bridge the gateway addresses and brings it up; repeatable.
pub(crate) async fn bring_up(
    handle: &Handle,
    index: u32,
    addresses: &[IpNet],
) -> Result<(), rtnetlink::Error> {
    for address in addresses {
        let mut request = handle
            .address()
            .add(index, address.addr(), address.prefix_len())
            .replace();
        if address.addr().is_ipv6() {
            // Duplicate detection would leave the gateway unusable for the first second.
            let flags = AddressAttribute::Flags(AddressFlags::Nodad);
            request.message_mut().attributes.push(flags);
        }
        request.execute().await?;
    }
    let message = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(message).execute().await
}

/// Takes addresses off the bridge that are not among `addresses`, of ranges that sandboxes no
/// longer have. Those that every link gives itself stay.
pub(crate) async fn drop_others(
    handle: &Handle,
    index: u32,
    addresses: &[IpNet],
) -> Result<(), rtnetlink::Error> {
    let list = || {
        let all = handle.address().get().set_link_index_filter(index);
        all.execute().try_collect()
    };
    let all: Vec<AddressMessage> = listed(list).await?;
    for message in all {
        let Some(address) = address_of(&message) else {
            continue;
        };
        let own = matches!(address.addr(), IpAddr::V6(ip) if ip.is_unicast_link_local());
        if !own && !addresses.contains(&address) {
            handle.address().del(message).execute().await?;
        }
    }
    Ok(())
}

/// Puts a link on the bridge and brings it up.
pub(crate) async fn join(handle: &Handle, index: u32, bridge: u32) -> Result<(), rtnetlink::Error> {
    let message = LinkUnspec::new_with_index(index)
        .controller(bridge)
        .up()
        .build();
    handle.link().set(message).execute().await
}

/// Deletes a link; one that is gone is no error.
pub(crate) async fn delete(handle: &Handle, index: u32) -> Result<(), rtnetlink::Error> {
    match handle.link().del(index).execute().await {
        Err(error) if !is_missing(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Says whether the kernel answered that there is no such link.
pub(crate) fn is_missing(error: &rtnetlink::Error) -> bool {
    let rtnetlink::Error::NetlinkError(message) = error else {
        return false;
    };
    message
        .code
        .is_some_and(|code| code.get() == -rustix::io::Errno::NODEV.raw_os_error())
}
