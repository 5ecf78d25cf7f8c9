//! Which registries may be spoken to without TLS.

use std::net::IpAddr;
use std::str::FromStr;

use agent_types::{Classify, ErrorKind};

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is neither a registry host, host:port, nor a network such as 10.0.0.0/8")]
pub struct PlainHttpError {
    /// The refused text.
    value: String,
}

impl Classify for PlainHttpError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// A host or network whose registries are spoken to over plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainHttp {
    /// One host, on one port or on any.
    Host {
        /// Its name or address, in lower case and without brackets.
        host: String,
        /// The only port meant, if not all.
        port: Option<u16>,
    },
    /// All addresses that share the first bits.
    Network {
        /// An address of the network.
        address: IpAddr,
        /// How many leading bits count.
        bits: u8,
    },
}

impl PlainHttp {
    /// Says whether the rule covers `host` (brackets allowed) and `port`.
    #[must_use]
    pub fn covers(&self, host: &str, port: u16) -> bool {
        let host = bare(host);
        match self {
            Self::Host {
                host: own,
                port: only,
            } => own.eq_ignore_ascii_case(host) && only.is_none_or(|only| only == port),
            Self::Network { address, bits } => host
                .parse()
                .is_ok_and(|other| same_network(*address, other, *bits)),
        }
    }
}

/// Says whether a host is this machine: these are never proxied, and plain HTTP reaches them.
#[must_use]
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = bare(host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| match address {
            IpAddr::V4(address) => address.is_loopback(),
            IpAddr::V6(address) => {
                address.is_loopback()
                    || address
                        .to_ipv4_mapped()
                        .is_some_and(|address| address.is_loopback())
            }
        })
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

fn same_network(network: IpAddr, other: IpAddr, bits: u8) -> bool {
    let shared = match (network, other) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return false,
    };
    shared >= u32::from(bits)
}

impl FromStr for PlainHttp {
    type Err = PlainHttpError;

    fn from_str(value: &str) -> Result<Self, PlainHttpError> {
        let refused = || PlainHttpError {
            value: value.chars().take(300).collect(),
        };
        if let Some((address, bits)) = value.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| refused())?;
            let bits: u8 = bits.parse().map_err(|_| refused())?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            return (bits <= most)
                .then_some(Self::Network { address, bits })
                .ok_or_else(refused);
        }
        // The grammar of a registry host is that of a reference.
        let reference: agent_types::Reference =
            format!("{value}/x").parse().map_err(|_| refused())?;
        if reference.registry() != value {
            return Err(refused());
        }
        let (host, port) = match value.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, Some(port.parse().map_err(|_| refused())?))
            }
            _ => (value, None),
        };
        Ok(Self::Host {
            host: bare(host).to_ascii_lowercase(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(rule: &str, host: &str, port: u16) -> bool {
        rule.parse::<PlainHttp>().unwrap().covers(host, port)
    }

    #[test]
    fn rules_cover_what_they_name_and_nothing_else() {
        assert!(covers("registry.lan", "Registry.LAN", 80));
        assert!(covers("registry.lan:5000", "registry.lan", 5000));
        assert!(!covers("registry.lan:5000", "registry.lan", 80));
        assert!(!covers("registry.lan", "registry.lan.evil.io", 80));
        assert!(covers("10.0.0.0/8", "10.9.8.7", 5000));
        assert!(!covers("10.0.0.0/8", "11.0.0.1", 5000));
        assert!(!covers("10.0.0.0/8", "10.example.com", 5000));
        assert!(covers("fd00::/8", "[fd12::1]", 5000));
        assert!(!covers("0.0.0.0/0", "[fd12::1]", 5000));
        assert!(covers("[::1]:5000", "[::1]", 5000));
        assert!(covers("0.0.0.0/0", "1.2.3.4", 1));
        for bad in [
            "",
            "a/b",
            "10.0.0.0/33",
            "http://a.io",
            "a.io:x",
            "nodots",
            "-a.io",
        ] {
            assert!(bad.parse::<PlainHttp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for yes in [
            "localhost",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "::1",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in [
            "localhost.evil.io",
            "128.0.0.1",
            "[::2]",
            "127.0.0.1.evil.io",
            "",
        ] {
            assert!(!is_loopback(no), "{no}");
        }
    }
}
