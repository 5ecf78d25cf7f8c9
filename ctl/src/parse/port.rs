//! `--publish` and `--expose`: ports and ranges of ports.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use proto::agent::{PortMapping, Protocol};

use super::ParseError;

const PUBLISH: &str = "[[HOST_IP:][HOST_PORT]:]CONTAINER_PORT[/tcp|udp|sctp]";
const EXPOSE: &str = "PORT[-PORT][/tcp|udp|sctp]";

/// What one `--publish` asks for: a port, or as many as its range has.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Published(pub(crate) Vec<PortMapping>);

/// What one `--expose` tells: ports such as "80/tcp".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exposed(pub(crate) Vec<String>);

/// Reads `80`, `8080:80`, `127.0.0.1:8080:80/udp`, `[::1]::80` or `8000-8005:80-85`.
pub(crate) fn publish(text: &str) -> Result<Published, ParseError> {
    let malformed = || ParseError::form(text, PUBLISH);
    let (ports, protocol) = split_protocol(text).ok_or_else(malformed)?;
    let (host, container) = ports.rsplit_once(':').unwrap_or(("", ports));
    let (host_ip, host_ports) = split_address(host).ok_or_else(malformed)?;
    let container = range(container).ok_or_else(malformed)?;
    let host = match host_ports {
        "" => None,
        ports => Some(range(ports).ok_or_else(malformed)?),
    };
    if let Some(host) = host.as_ref().filter(|host| host.len() != container.len()) {
        return Err(ParseError::UnequalRanges {
            host: words(host),
            container: words(&container),
        });
    }
    let first = host.map_or(0, |host| u32::from(*host.start()));
    let mapping = |(offset, container_port): (u32, u16)| PortMapping {
        protocol: protocol.into(),
        container_port: container_port.into(),
        host_port: if first == 0 { 0 } else { first + offset },
        host_ip: host_ip.clone(),
    };
    Ok(Published((0..).zip(container).map(mapping).collect()))
}

/// Reads `80`, `53/udp` or `8000-8005`.
pub(crate) fn expose(text: &str) -> Result<Exposed, ParseError> {
    let malformed = || ParseError::form(text, EXPOSE);
    let (ports, protocol) = split_protocol(text).ok_or_else(malformed)?;
    let ports = range(ports).ok_or_else(malformed)?;
    Ok(Exposed(
        ports
            .map(|port| format!("{port}/{}", protocol_name(protocol)))
            .collect(),
    ))
}

/// Reads one port and its protocol, such as `80` or `53/udp`.
pub(crate) fn single(text: &str) -> Result<(u32, Protocol), ParseError> {
    let malformed = || ParseError::form(text, "PORT[/tcp|udp|sctp]");
    let (port, protocol) = split_protocol(text).ok_or_else(malformed)?;
    Ok((self::port(port).ok_or_else(malformed)?.into(), protocol))
}

/// A port here, 0 for any, that leads to a port there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forwarded {
    pub(crate) local: u16,
    pub(crate) remote: u16,
}

/// Reads `80` (the same on both sides), `8080:80`, or `:80` for any port here.
pub(crate) fn forward(text: &str) -> Result<Forwarded, ParseError> {
    let malformed = || ParseError::form(text, "[[LOCAL_PORT]:]CONTAINER_PORT");
    let (local, remote) = text.split_once(':').unwrap_or((text, text));
    let local = match local {
        "" => 0,
        local => port(local).ok_or_else(malformed)?,
    };
    let remote = port(remote).ok_or_else(malformed)?;
    Ok(Forwarded { local, remote })
}

/// Returns the name of a protocol.
pub(crate) fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Unspecified | Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

fn split_protocol(text: &str) -> Option<(&str, Protocol)> {
    let Some((ports, protocol)) = text.split_once('/') else {
        return Some((text, Protocol::Tcp));
    };
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    Some((ports, protocol))
}

/// Cuts what stands before the container's port into address and port.
fn split_address(host: &str) -> Option<(String, &str)> {
    let (address, ports) = if let Some(rest) = host.strip_prefix('[') {
        let (address, ports) = rest.split_once(']')?;
        (
            address,
            if ports.is_empty() {
                ""
            } else {
                ports.strip_prefix(':')?
            },
        )
    } else if let Some((address, ports)) = host.rsplit_once(':') {
        (address, ports)
    } else {
        return match host.parse::<IpAddr>() {
            Ok(address) => Some((address.to_string(), "")),
            Err(_) => Some((String::new(), host)),
        };
    };
    let address = match address {
        "" => String::new(),
        address => address.parse::<IpAddr>().ok()?.to_string(),
    };
    Some((address, ports))
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = port(first)?..=port(last)?;
    (!range.is_empty()).then_some(range)
}

fn words(range: &RangeInclusive<u16>) -> String {
    match (range.start(), range.end()) {
        (first, last) if first == last => format!("port {first}"),
        (first, last) => format!("range {first}-{last}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mapping(host_ip: &str, host_port: u32, container_port: u32) -> PortMapping {
        let protocol = Protocol::Tcp.into();
        PortMapping {
            protocol,
            container_port,
            host_port,
            host_ip: host_ip.into(),
        }
    }

    #[test]
    fn dockers_forms_are_understood() {
        let table = [
            ("80", vec![mapping("", 0, 80)]),
            ("8080:80", vec![mapping("", 8080, 80)]),
            (":80", vec![mapping("", 0, 80)]),
            ("127.0.0.1:8080:80", vec![mapping("127.0.0.1", 8080, 80)]),
            ("127.0.0.1::80", vec![mapping("127.0.0.1", 0, 80)]),
            ("127.0.0.1:80", vec![mapping("127.0.0.1", 0, 80)]),
            ("[::1]:8080:80/tcp", vec![mapping("::1", 8080, 80)]),
            ("[::]::80", vec![mapping("::", 0, 80)]),
            ("::1:8080:80", vec![mapping("::1", 8080, 80)]),
            (
                "8000-8001:80-81",
                vec![mapping("", 8000, 80), mapping("", 8001, 81)],
            ),
            ("80-81", vec![mapping("", 0, 80), mapping("", 0, 81)]),
            ("65535:65535", vec![mapping("", 65535, 65535)]),
        ];
        for (text, expected) in table {
            assert_eq!(publish(text).expect(text).0, expected, "{text}");
        }
    }

    #[test]
    fn the_protocol_is_kept() {
        let Published(ports) = publish("53:53/UDP").expect("a port");
        assert_eq!(ports[0].protocol(), Protocol::Udp);
        assert_eq!(expose("53/udp").expect("a port").0, ["53/udp"]);
        assert_eq!(expose("80-81").expect("ports").0, ["80/tcp", "81/tcp"]);
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            ":",
            "a",
            "0",
            "80:",
            "80:0",
            "70000",
            "80/x",
            "1.2.3:80:80",
            "[::1:80:80",
            "[::1]80:80",
            "81-80",
            "80-",
        ] {
            assert!(
                matches!(publish(text), Err(ParseError::Form { .. })),
                "{text}"
            );
        }
        let error = publish("8000-8002:80-81").expect_err("unequal");
        assert_eq!(
            error.to_string(),
            "range 8000-8002 has not as many ports as range 80-81"
        );
    }

    #[test]
    fn a_forwarded_port_has_two_sides() {
        let both = |local, remote| Forwarded { local, remote };
        assert_eq!(forward("80").expect("a port"), both(80, 80));
        assert_eq!(forward("8080:80").expect("ports"), both(8080, 80));
        assert_eq!(forward(":80").expect("ports"), both(0, 80));
        for text in ["", ":", "80:", "0:80", "80:0", "a:80", "1:2:3", "80/udp"] {
            assert!(
                matches!(forward(text), Err(ParseError::Form { .. })),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_pair_of_ports_comes_back(host in 1..=u16::MAX, container in 1..=u16::MAX) {
            let Published(ports) = publish(&format!("{host}:{container}")).expect("a port");
            prop_assert_eq!(ports, vec![mapping("", host.into(), container.into())]);
        }

        #[test]
        fn no_input_makes_the_parser_panic(text in "[0-9a-f.:/\\[\\]-]{0,30}") {
            let _ = publish(&text);
        }
    }
}
