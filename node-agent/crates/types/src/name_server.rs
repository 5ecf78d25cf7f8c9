//! Where names are resolved: an address, with the link to reach it by where it needs one.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name of a link, as the kernel has it.
const MAX_ZONE: usize = 15;

/// A name server as resolv.conf(5) has it, such as `192.0.2.53` or `fe80::1%eth0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameServer {
    address: IpAddr,
    zone: Option<String>,
}

/// Why a text is no name server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("name server {text:?} is not an address")]
pub struct NameServerError {
    /// The text.
    text: String,
}

impl crate::Classify for NameServerError {
    fn kind(&self) -> crate::ErrorKind {
        crate::ErrorKind::InvalidArgument
    }
}

impl From<IpAddr> for NameServer {
    fn from(address: IpAddr) -> Self {
        Self {
            address,
            zone: None,
        }
    }
}

impl FromStr for NameServer {
    type Err = NameServerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || NameServerError {
            text: text.chars().take(100).collect(),
        };
        let Some((address, zone)) = text.split_once('%') else {
            let address: IpAddr = text.parse().map_err(|_| refused())?;
            return Ok(address.into());
        };
        let address: Ipv6Addr = address.parse().map_err(|_| refused())?;
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@');
        if zone.is_empty() || zone.len() > MAX_ZONE || !zone.bytes().all(word) {
            return Err(refused());
        }
        Ok(Self {
            address: address.into(),
            zone: Some(zone.to_owned()),
        })
    }
}

impl std::fmt::Display for NameServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "{}%{zone}", self.address),
            None => self.address.fmt(f),
        }
    }
}

impl TryFrom<String> for NameServer {
    type Error = NameServerError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<NameServer> for String {
    fn from(server: NameServer) -> Self {
        server.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were_given() {
        for text in ["192.0.2.53", "2001:db8::53", "fe80::1%eth0", "fe80::1%3"] {
            let server: NameServer = text.parse().unwrap();
            assert_eq!(server.to_string(), text);
            let json = serde_json::to_string(&server).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<NameServer>(&json).unwrap(), server);
        }
    }

    #[test]
    fn nothing_else_is_one() {
        for text in [
            "",
            "resolver",
            "192.0.2.53%eth0",
            "fe80::1%",
            "fe80::1%eth0\nnameserver 203.0.113.1",
            "fe80::1%eth 0",
            "fe80::1%../../etc",
            "fe80::1%a-link-with-a-long-name",
            "192.0.2.53:53",
        ] {
            let refused = text.parse::<NameServer>().unwrap_err();
            assert!(refused.to_string().contains("not an address"), "{text:?}");
        }
    }
}
