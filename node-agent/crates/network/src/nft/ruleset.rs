//! The fixed rules, as text for `nft -f -`.
//!
//! Every line may be laid down again over itself: chains are flushed and refilled in the same
//! transaction, and maps keep their elements, so that published ports work on while an agent
//! starts anew.
//!
//! | chain | hook, priority | what it does |
//! |---|---|---|
//! | `guard` | prerouting, raw | drops what claims to come from or go to 127/8 on any wire |
//! | `prerouting`, `output` | nat, dstnat + 5 | published ports, after everybody else's rules |
//! | `forward` | filter + 5 | from outside only answers and published ports reach a sandbox |
//! | `postrouting` | nat, srcnat + 5 | masquerade: out of the subnet, hairpin, host's loopback |

use std::fmt::Write as _;

use ipnet::IpNet;

/// What the fixed rules depend on; names were checked by [`crate::Config::check`].
#[derive(Debug, Clone)]
pub(crate) struct Rules<'a> {
    /// Name of the tables.
    pub(crate) table: &'a str,
    /// Name of the bridge.
    pub(crate) bridge: &'a str,
    /// What the names of the sandboxes' links start with.
    pub(crate) prefix: &'a str,
    /// Ranges of the sandboxes.
    pub(crate) subnets: &'a [IpNet],
}

/// The maps of published ports: name and type.
const MAPS: [(&str, &str); 4] = [
    (
        "ports4",
        "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
    ),
    (
        "any_ports4",
        "inet_proto . inet_service : ipv4_addr . inet_service",
    ),
    (
        "ports6",
        "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service",
    ),
    (
        "any_ports6",
        "inet_proto . inet_service : ipv6_addr . inet_service",
    ),
];

/// The chains of routed packets: name and hook.
const CHAINS: [(&str, &str); 6] = [
    (
        "guard",
        " { type filter hook prerouting priority -300; policy accept; }",
    ),
    ("published", ""),
    (
        "prerouting",
        " { type nat hook prerouting priority -95; policy accept; }",
    ),
    (
        "output",
        " { type nat hook output priority -95; policy accept; }",
    ),
    (
        "forward",
        " { type filter hook forward priority 5; policy accept; }",
    ),
    (
        "postrouting",
        " { type nat hook postrouting priority 105; policy accept; }",
    ),
];

/// Rules that depend on no setting: chain and rule.
const RULES: [(&str, &str); 9] = [
    ("guard", "iif != \"lo\" ip daddr 127.0.0.0/8 drop"),
    ("guard", "iif != \"lo\" ip saddr 127.0.0.0/8 drop"),
    ("prerouting", "fib daddr type local jump published"),
    // The kernel never routes ::1 off the loopback; a forwarder serves it.
    ("output", "ip6 daddr ::1 return"),
    ("output", "fib daddr type local jump published"),
    (
        "published",
        "dnat ip to ip daddr . meta l4proto . th dport map @ports4",
    ),
    (
        "published",
        "meta nfproto ipv4 dnat ip to meta l4proto . th dport map @any_ports4",
    ),
    (
        "published",
        "dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6",
    ),
    (
        "published",
        "meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @any_ports6",
    ),
];

/// Returns the rules for routed packets.
pub(crate) fn inet_ruleset(rules: &Rules<'_>) -> String {
    let table = rules.table;
    let mut text = format!("add table inet {table}\n");
    for (name, kind) in MAPS {
        let _ = writeln!(text, "add map inet {table} {name} {{ type {kind}; }}");
    }
    for (name, hook) in CHAINS {
        let _ = writeln!(text, "add chain inet {table} {name}{hook}");
        let _ = writeln!(text, "flush chain inet {table} {name}");
    }
    for (chain, rule) in RULES {
        let _ = writeln!(text, "add rule inet {table} {chain} {rule}");
    }
    for rule in forward_rules(rules.bridge) {
        let _ = writeln!(text, "add rule inet {table} forward {rule}");
    }
    for rule in masquerade_rules(rules) {
        let _ = writeln!(text, "add rule inet {table} postrouting {rule}");
    }
    text
}

/// From outside, only answers and published ports reach a sandbox. Everybody else's packets
/// are none of our business.
fn forward_rules(bridge: &str) -> [String; 5] {
    [
        format!("oifname != \"{bridge}\" accept"),
        format!("iifname \"{bridge}\" accept"),
        "ct state established,related accept".to_owned(),
        "ct status dnat accept".to_owned(),
        "counter drop".to_owned(),
    ]
}

/// Sandboxes speak with the host's address: outside, and where the answer would otherwise take
/// a shorter way back than the question came (published ports reached from the same bridge).
fn masquerade_rules(rules: &Rules<'_>) -> Vec<String> {
    let bridge = rules.bridge;
    let mut all = Vec::new();
    for subnet in rules.subnets.iter().map(IpNet::trunc) {
        let (family, multicast) = match subnet {
            IpNet::V4(_) => ("ip", "224.0.0.0/4"),
            IpNet::V6(_) => ("ip6", "ff00::/8"),
        };
        all.push(format!(
            "oifname \"{bridge}\" {family} saddr {subnet} ct status dnat masquerade"
        ));
        let loopback = format!("oifname \"{bridge}\" ip saddr 127.0.0.0/8 masquerade");
        if family == "ip" && !all.contains(&loopback) {
            all.push(loopback);
        }
        all.push(format!(
            "oifname != \"{bridge}\" {family} saddr {subnet} {family} daddr != {multicast} masquerade"
        ));
    }
    all
}

/// What no sandbox says to another, or to the host, on the bridge.
///
/// Advertisements would make it a router. Solicitations find none, and reports of groups interest
/// nobody on a bridge that does not snoop; both come by themselves with every new sandbox, and the
/// bridge would copy them to all others.
const UNHEARD: &str = "nd-router-advert, nd-router-solicit, mld-listener-report, \
                       mld-listener-done, mld2-listener-report";

/// Chains of bridged packets that agents before this one laid down.
const FORMER_CHAINS: [&str; 2] = ["forward", "input"];

/// Returns the rules for bridged packets, looked at once, before the bridge copies them.
pub(crate) fn bridge_ruleset(rules: &Rules<'_>) -> String {
    let Rules { table, prefix, .. } = rules;
    let mut text = format!(
        "add table bridge {table}\n\
         add chain bridge {table} prerouting {{ type filter hook prerouting priority -300; policy accept; }}\n\
         flush chain bridge {table} prerouting\n\
         add rule bridge {table} prerouting iifname \"{prefix}*\" icmpv6 type {{ {UNHEARD} }} drop\n"
    );
    for chain in FORMER_CHAINS {
        let _ = writeln!(
            text,
            "add chain bridge {table} {chain}\ndelete chain bridge {table} {chain}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn rules(subnets: &[IpNet]) -> Rules<'_> {
        Rules {
            table: "node_agent",
            bridge: "nodeagent0",
            prefix: "naabc",
            subnets,
        }
    }

    fn default_subnets() -> Vec<IpNet> {
        subnets(&["10.199.0.0/16", "fd6e:6f64:6561:1::/64"])
    }

    #[test]
    fn the_routed_rules_are_these() {
        assert_eq!(
            inet_ruleset(&rules(&default_subnets())),
            include_str!("inet.snapshot")
        );
    }

    #[test]
    fn the_bridged_rules_are_these() {
        assert_eq!(
            bridge_ruleset(&rules(&default_subnets())),
            include_str!("bridge.snapshot")
        );
    }

    #[test]
    fn a_family_without_a_subnet_is_not_masqueraded_and_every_subnet_is() {
        let text = inet_ruleset(&rules(&subnets(&["10.199.0.0/16", "10.1.0.0/24"])));
        assert!(!text.contains("ip6 saddr") && text.contains("ip saddr 10.199.0.0/16"));
        assert!(text.contains("ip saddr 10.1.0.0/24 ip daddr != 224.0.0.0/4 masquerade"));
        assert_eq!(text.matches("saddr 127.0.0.0/8 masquerade").count(), 1);
    }
}
