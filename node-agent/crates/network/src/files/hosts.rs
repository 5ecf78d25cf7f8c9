//! /etc/hosts of a sandbox.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::{LineError, word};

/// What a sandbox is called, and whom it is to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostsSpec {
    /// Its host name; none for a sandbox in the host's network.
    pub hostname: Option<String>,
    /// Its domain.
    pub domain: Option<String>,
    /// Its addresses; without any the name leads to its loopback.
    pub addresses: Vec<IpAddr>,
    /// Further addresses and their names.
    pub extra: Vec<(IpAddr, Vec<String>)>,
}

/// Names that every file has.
const LOOPBACK: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    ff00::0\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// Returns the file.
///
/// # Errors
/// When a name is not one word.
pub fn hosts(spec: &HostsSpec) -> Result<String, LineError> {
    let mut text = LOOPBACK.to_owned();
    if let Some(hostname) = spec.hostname.as_deref().filter(|name| !name.is_empty()) {
        let hostname = word("host name", hostname)?;
        let names = match spec.domain.as_deref().filter(|domain| !domain.is_empty()) {
            Some(domain) => format!("{hostname}.{} {hostname}", word("domain", domain)?),
            None => hostname.to_owned(),
        };
        for address in &spec.addresses {
            let _ = writeln!(text, "{address}\t{names}");
        }
        if spec.addresses.is_empty() {
            let _ = writeln!(text, "127.0.1.1\t{names}");
        }
    }
    for (address, names) in spec.extra.iter().filter(|(_, names)| !names.is_empty()) {
        let _ = write!(text, "{address}");
        for (number, name) in names.iter().enumerate() {
            let gap = if number == 0 { '\t' } else { ' ' };
            let _ = write!(text, "{gap}{}", word("host name", name)?);
        }
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_knows_itself_and_whom_it_was_told_of() {
        let spec = HostsSpec {
            hostname: Some("web-0".to_owned()),
            domain: Some("web.example".to_owned()),
            addresses: vec!["10.199.0.2".parse().unwrap(), "fd6e::2".parse().unwrap()],
            extra: vec![(
                "192.0.2.9".parse().unwrap(),
                vec!["db".to_owned(), "db.example".to_owned()],
            )],
        };
        let text = hosts(&spec).unwrap();
        assert!(text.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost "));
        assert!(text.ends_with(
            "10.199.0.2\tweb-0.web.example web-0\n\
             fd6e::2\tweb-0.web.example web-0\n\
             192.0.2.9\tdb db.example\n"
        ));
    }

    #[test]
    fn without_an_address_the_name_leads_to_the_loopback() {
        let spec = HostsSpec {
            hostname: Some("alone".to_owned()),
            ..HostsSpec::default()
        };
        assert!(hosts(&spec).unwrap().ends_with("127.0.1.1\talone\n"));
    }

    #[test]
    fn a_name_with_a_line_break_is_refused() {
        let spec = HostsSpec {
            extra: vec![(
                "192.0.2.9".parse().unwrap(),
                vec!["a\n203.0.113.1 bank.example".to_owned()],
            )],
            ..HostsSpec::default()
        };
        assert!(hosts(&spec).is_err());
    }
}
