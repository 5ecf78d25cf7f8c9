//! /etc/resolv.conf of a sandbox.

use std::fmt::Write as _;
use std::net::IpAddr;

use agent_types::NameServer;

use super::{LineError, word};

/// What a sandbox asked for; each part that is empty comes from the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsSpec {
    /// Name servers.
    pub servers: Vec<NameServer>,
    /// Search domains; a single "." means none.
    pub searches: Vec<String>,
    /// Options, such as `ndots:5`.
    pub options: Vec<String>,
}

/// How much of the host's name resolution reaches the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostResolver {
    /// The sandbox is in the host's network: everything does.
    Reachable,
    /// It has a network of its own: a resolver on the host's loopback does not.
    OwnNetwork,
}

/// Returns the file for a sandbox that asked for `dns` on a host whose file is `host`.
///
/// Where the host names only resolvers on its loopback, and the sandbox asked for none, give
/// the file of its upstream resolvers in place of `host`: see [`names_only_loopback`].
///
/// # Errors
/// When a search domain or option is not one word.
pub fn resolv_conf(dns: &DnsSpec, host: &str, resolver: HostResolver) -> Result<String, LineError> {
    let mut text = String::new();
    let searches = if dns.searches.is_empty() {
        last_of(host, &["search", "domain"])
    } else {
        dns.searches
            .iter()
            .map(String::as_str)
            .filter(|s| *s != ".")
            .collect()
    };
    if !searches.is_empty() {
        text.push_str("search");
        for search in searches {
            let _ = write!(text, " {}", word("search domain", search)?);
        }
        text.push('\n');
    }
    let servers: Vec<String> = if dns.servers.is_empty() {
        let usable = |server: &&str| resolver == HostResolver::Reachable || !is_loopback(server);
        lines(host, "nameserver")
            .filter(usable)
            .map(str::to_owned)
            .collect()
    } else {
        dns.servers.iter().map(NameServer::to_string).collect()
    };
    for server in &servers {
        let _ = writeln!(text, "nameserver {}", word("name server", server)?);
    }
    let options = if dns.options.is_empty() {
        last_of(host, &["options"])
    } else {
        dns.options.iter().map(String::as_str).collect()
    };
    if !options.is_empty() {
        text.push_str("options");
        for option in options {
            let _ = write!(text, " {}", word("resolver option", option)?);
        }
        text.push('\n');
    }
    Ok(text)
}

/// Says whether a resolv.conf names resolvers, and all of them on the loopback, as hosts with a
/// resolver of their own have it.
#[must_use]
pub fn names_only_loopback(host: &str) -> bool {
    let mut servers = lines(host, "nameserver").peekable();
    servers.peek().is_some() && servers.all(is_loopback_server)
}

fn is_loopback_server(server: &str) -> bool {
    is_loopback(&server)
}

fn is_loopback(server: &&str) -> bool {
    let address = server.split('%').next().unwrap_or_default();
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_unspecified(),
        Ok(IpAddr::V6(ip)) => {
            let mapped = ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback());
            ip.is_loopback() || ip.is_unspecified() || mapped
        }
        Err(_) => true,
    }
}

/// Returns the first word behind each line's keyword.
fn lines<'a>(host: &'a str, keyword: &'static str) -> impl Iterator<Item = &'a str> {
    let value = move |line: &'a str| {
        let mut words = line.split_whitespace();
        (words.next() == Some(keyword)).then(|| words.next())?
    };
    host.lines().filter_map(value)
}

/// Returns the words of the last line with one of the keywords, which is the one that counts.
fn last_of<'a>(host: &'a str, keywords: &[&str]) -> Vec<&'a str> {
    let value = |line: &'a str| {
        let mut words = line.split_whitespace();
        let keyword = words.next()?;
        keywords
            .contains(&keyword)
            .then(|| words.take_while(|w| !w.starts_with(['#', ';'])).collect())
    };
    host.lines().rev().find_map(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "# written by hand\n\
        domain old.example\n\
        search a.example b.example # two\n\
        nameserver 127.0.0.53\n\
        nameserver 192.0.2.53\n\
        nameserver ::1\n\
        nameserver fe80::1%eth0\n\
        options edns0\n";

    #[test]
    fn loopback_resolvers_do_not_reach_a_network_of_its_own() {
        let text = resolv_conf(&DnsSpec::default(), HOST, HostResolver::OwnNetwork).unwrap();
        assert_eq!(
            text,
            "search a.example b.example\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\noptions edns0\n"
        );
        let same = resolv_conf(&DnsSpec::default(), HOST, HostResolver::Reachable).unwrap();
        assert!(same.contains("nameserver 127.0.0.53\n") && same.contains("nameserver ::1\n"));
    }

    #[test]
    fn what_was_asked_for_replaces_the_hosts() {
        let dns = DnsSpec {
            servers: ["10.96.0.10", "fe80::53%eth0"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            searches: vec![
                "ns.svc.cluster.local".to_owned(),
                "svc.cluster.local".to_owned(),
            ],
            options: vec!["ndots:5".to_owned()],
        };
        let text = resolv_conf(&dns, HOST, HostResolver::OwnNetwork).unwrap();
        assert_eq!(
            text,
            "search ns.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\nnameserver fe80::53%eth0\noptions ndots:5\n"
        );
        let none = DnsSpec {
            searches: vec![".".to_owned()],
            ..DnsSpec::default()
        };
        let text = resolv_conf(&none, HOST, HostResolver::OwnNetwork).unwrap();
        assert!(!text.contains("search"));
    }

    #[test]
    fn a_host_with_a_resolver_of_its_own_is_seen() {
        assert!(names_only_loopback(
            "nameserver 127.0.0.53\noptions edns0\n"
        ));
        assert!(!names_only_loopback(HOST));
        assert!(!names_only_loopback(""));
    }

    #[test]
    fn nothing_breaks_out_of_its_line() {
        for bad in ["a b", "a\nnameserver 203.0.113.1", "", "a#b"] {
            let dns = DnsSpec {
                options: vec![bad.to_owned()],
                ..DnsSpec::default()
            };
            assert!(
                resolv_conf(&dns, "", HostResolver::OwnNetwork).is_err(),
                "{bad:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_search_domain_never_becomes_a_name_server(search in ".{0,40}") {
            let dns = DnsSpec { searches: vec![search], ..DnsSpec::default() };
            if let Ok(text) = resolv_conf(&dns, "", HostResolver::OwnNetwork) {
                prop_assert!(!text.lines().any(|line| line.starts_with("nameserver")));
                prop_assert!(text.lines().count() <= 1);
            }
        }
    }
}
