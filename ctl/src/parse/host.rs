//! `--add-host`.

use std::net::IpAddr;

/// What stands for the host's own address, which the agent knows.
const HOST_GATEWAY: &str = "host-gateway";

use super::ParseError;

/// Reads `NAME:IP` or `NAME=IP`, and returns it as `NAME:IP`; `host-gateway` is an address too.
pub(crate) fn extra_host(text: &str) -> Result<String, ParseError> {
    let malformed = || ParseError::form(text, "NAME:IP or NAME:host-gateway");
    let (name, address) = text.split_once(['=', ':']).ok_or_else(malformed)?;
    let bare = address
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'));
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(malformed());
    }
    if address == HOST_GATEWAY {
        return Ok(format!("{name}:{HOST_GATEWAY}"));
    }
    let address: IpAddr = bare.unwrap_or(address).parse().map_err(|_| malformed())?;
    Ok(format!("{name}:{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_a_name_and_an_address() {
        assert_eq!(extra_host("db:10.0.0.1").expect("a host"), "db:10.0.0.1");
        assert_eq!(extra_host("db=fd00::1").expect("a host"), "db:fd00::1");
        assert_eq!(extra_host("db:[fd00::1]").expect("a host"), "db:fd00::1");
        assert_eq!(
            extra_host("host=host-gateway").expect("a host"),
            "host:host-gateway"
        );
        for text in ["", "db", ":10.0.0.1", "db:x", "a b:10.0.0.1"] {
            assert!(extra_host(text).is_err(), "{text}");
        }
    }
}
