//! What a request asks to be upgraded to, from its headers alone.

use hyper::header::{CONNECTION, HeaderMap, HeaderName, UPGRADE};

use crate::backend::Grant;
use crate::socket::accept_key;
use crate::{command, forward};

/// Header of both sides that names what the streams mean (SPDY).
pub(super) const PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// Header of a refusal that names what would have been taken.
pub(super) const ACCEPTED: HeaderName =
    HeaderName::from_static("x-accepted-stream-protocol-versions");
pub(super) const SOCKET_PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");
pub(super) const SOCKET_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
const SOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const SOCKET_VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");

/// The one version of the framing there is.
const SOCKET_VERSION_13: &str = "13";

/// What carries the streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Carrier {
    Spdy,
    /// A WebSocket, and the answer to its key.
    Socket {
        accept: String,
    },
}

/// Why a request cannot be upgraded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the request must ask for an upgrade to SPDY/3.1 or to websocket")]
    NoUpgrade,
    #[error("the WebSocket's version or key is missing or not valid")]
    Handshake,
    #[error("the URL is for {count} ports, and the protocol asked for has channels for {most}")]
    Ports { count: usize, most: usize },
    #[error("none of the protocols asked for is spoken here: {}", accepted.join(", "))]
    Protocol {
        carrier: Carrier,
        accepted: &'static [&'static str],
    },
}

/// Returns what a request wants to be carried by.
pub(super) fn carrier(headers: &HeaderMap) -> Result<Carrier, Refusal> {
    if !words(headers, &CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade")) {
        return Err(Refusal::NoUpgrade);
    }
    let asks = |name: &str| words(headers, &UPGRADE).any(|word| word.eq_ignore_ascii_case(name));
    if asks("websocket") {
        let version = words(headers, &SOCKET_VERSION).next();
        let key = words(headers, &SOCKET_KEY).next();
        return match (version, key) {
            (Some(SOCKET_VERSION_13), Some(key)) => Ok(Carrier::Socket {
                accept: accept_key(key.as_bytes()),
            }),
            _ => Err(Refusal::Handshake),
        };
    }
    if asks("SPDY/3.1") {
        return Ok(Carrier::Spdy);
    }
    Err(Refusal::NoUpgrade)
}

/// Returns the first protocol that the client asks for and that is spoken; an empty one where it
/// asks for none.
pub(super) fn protocol(
    headers: &HeaderMap,
    carrier: &Carrier,
    command: bool,
) -> Result<&'static str, Refusal> {
    let (header, spoken) = match (carrier, command) {
        (Carrier::Spdy, true) => (&PROTOCOL, command::protocol::SPDY),
        (Carrier::Spdy, false) => (&PROTOCOL, forward::SPDY),
        (Carrier::Socket { .. }, true) => (&SOCKET_PROTOCOL, command::protocol::SOCKET),
        (Carrier::Socket { .. }, false) => (&SOCKET_PROTOCOL, forward::SOCKET),
    };
    let mut asked = words(headers, header).peekable();
    if asked.peek().is_none() {
        return Ok("");
    }
    asked
        .find_map(|name| spoken.iter().find(|known| **known == name).copied())
        .ok_or_else(|| Refusal::Protocol {
            carrier: carrier.clone(),
            accepted: spoken,
        })
}

/// Refuses a WebSocket that has too few channels for the ports of its URL.
pub(super) fn check_ports(
    grant: &Grant,
    carrier: &Carrier,
    protocol: &'static str,
) -> Result<(), Refusal> {
    let (Grant::Forward { ports }, Carrier::Socket { .. }) = (grant, carrier) else {
        return Ok(());
    };
    let most = forward::most_ports(protocol);
    if protocol == forward::TUNNEL || ports.len() <= most {
        return Ok(());
    }
    Err(Refusal::Ports {
        count: ports.len(),
        most,
    })
}

/// Whether a grant is for the streams of a process.
pub(super) const fn is_command(grant: &Grant) -> bool {
    matches!(grant, Grant::Command(_))
}

/// Returns the words of a header that may come several times, or hold several.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn spdy_is_asked_for_by_its_name() {
        let spdy = headers(&[("connection", "Upgrade"), ("upgrade", "spdy/3.1")]);
        assert_eq!(carrier(&spdy), Ok(Carrier::Spdy));
        let other = headers(&[("connection", "upgrade"), ("upgrade", "h2c")]);
        assert_eq!(carrier(&other), Err(Refusal::NoUpgrade));
        let plain = headers(&[("upgrade", "SPDY/3.1")]);
        assert_eq!(carrier(&plain), Err(Refusal::NoUpgrade));
    }

    #[test]
    fn a_websocket_has_a_version_and_a_key() {
        let mut asked = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
        ]);
        assert_eq!(carrier(&asked), Err(Refusal::Handshake));
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        asked.insert("sec-websocket-key", key);
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
        assert_eq!(carrier(&asked), Ok(Carrier::Socket { accept }));
    }

    #[test]
    fn a_websocket_carries_as_many_ports_as_it_has_channels_for() {
        let socket = Carrier::Socket {
            accept: String::new(),
        };
        let ports = |count| Grant::Forward {
            ports: vec![80; count],
        };
        for (protocol, most) in [
            ("", 128),
            ("v4.channel.k8s.io", 128),
            ("v4.base64.channel.k8s.io", 40),
        ] {
            assert_eq!(check_ports(&ports(most), &socket, protocol), Ok(()));
            let refused = check_ports(&ports(most + 1), &socket, protocol);
            let count = most + 1;
            assert_eq!(refused, Err(Refusal::Ports { count, most }));
        }
        // These name their ports by themselves.
        assert_eq!(check_ports(&ports(500), &socket, forward::TUNNEL), Ok(()));
        assert_eq!(check_ports(&ports(500), &Carrier::Spdy, ""), Ok(()));
    }

    #[test]
    fn the_first_protocol_spoken_is_taken() {
        let asked = headers(&[
            ("x-stream-protocol-version", "v9.channel.k8s.io"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
            (
                "x-stream-protocol-version",
                "v3.channel.k8s.io, channel.k8s.io",
            ),
        ]);
        assert_eq!(
            protocol(&asked, &Carrier::Spdy, true),
            Ok("v4.channel.k8s.io")
        );
        assert_eq!(protocol(&HeaderMap::new(), &Carrier::Spdy, true), Ok(""));
        assert!(protocol(&asked, &Carrier::Spdy, false).is_err());
    }
}
