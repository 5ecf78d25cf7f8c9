//! What an operator can set about the built-in network, and what is wrong with it.

use std::fmt;
use std::path::PathBuf;

use agent_types::{Classify, ErrorKind};
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// Longest name of a network interface the kernel takes.
const MAX_INTERFACE_NAME: usize = 15;
/// Longest table name accepted; the kernel takes more, people read less.
const MAX_TABLE_NAME: usize = 64;

/// Settings of the built-in network; two agents on one machine differ in the first four.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of the bridge, made at need.
    pub bridge: String,
    /// Name of the nftables tables (families inet and bridge).
    pub table: String,
    /// IPv4 range of the sandboxes; the first address is the gateway.
    pub ipv4_subnet: Option<Ipv4Net>,
    /// IPv6 range of the sandboxes; the first address is the gateway.
    pub ipv6_subnet: Option<Ipv6Net>,
    /// MTU of the bridge and the sandboxes; that of the default route's interface when absent.
    pub mtu: Option<u32>,
    /// First host port given out where a sandbox asks for any.
    pub first_port: u16,
    /// Last host port given out where a sandbox asks for any.
    pub last_port: u16,
    /// The `nft` program, started once to lay down the base rules.
    pub nft: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bridge: "nodeagent0".to_owned(),
            table: "node_agent".to_owned(),
            // Away from the defaults of docker (172.17 up), podman (10.88), kubeadm (10.96 and
            // 10.244), k3s (10.42, 10.43) and libvirt (192.168.122).
            ipv4_subnet: "10.199.0.0/16".parse().ok(),
            // A unique local prefix (RFC 4193) of this project.
            ipv6_subnet: "fd6e:6f64:6561:1::/64".parse().ok(),
            mtu: None,
            first_port: 32_768,
            last_port: 60_999,
            nft: PathBuf::from("/usr/sbin/nft"),
        }
    }
}

/// One thing wrong with a [`Config`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    /// Not a name an interface can have.
    #[error("bridge {name:?} is not an interface name of 1 to 15 letters, digits, '_', '-' or '.'")]
    Bridge {
        /// The refused name.
        name: String,
    },
    /// Not a name that is safe in a ruleset.
    #[error("table {name:?} is not a name of letters, digits and '_' that starts with a letter")]
    Table {
        /// The refused name.
        name: String,
    },
    /// Neither family has a range.
    #[error("neither ipv4_subnet nor ipv6_subnet is set")]
    NoSubnet,
    /// Too small for two sandboxes, or too large to be meant.
    #[error("subnet {subnet} must have a prefix length of 8 to 29")]
    Prefix4 {
        /// The refused range.
        subnet: Ipv4Net,
    },
    /// Too small for two sandboxes, or too large to be meant.
    #[error("subnet {subnet} must have a prefix length of 32 to 120")]
    Prefix6 {
        /// The refused range.
        subnet: Ipv6Net,
    },
    /// The range is not one that sandboxes can have.
    #[error("subnet {subnet} is loopback, link-local, multicast or unspecified")]
    Reserved {
        /// The refused range.
        subnet: ipnet::IpNet,
    },
    /// Below what IPv6 needs, or above what a veth takes.
    #[error("mtu {mtu} is not between 1280 and 65535")]
    Mtu {
        /// The refused value.
        mtu: u32,
    },
    /// First above last, or privileged ports.
    #[error("ports {first} to {last} are not a range above 1023")]
    Ports {
        /// First of the range.
        first: u16,
        /// Last of the range.
        last: u16,
    },
}

/// Everything wrong with a [`Config`], together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblems(pub Vec<ConfigProblem>);

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("network settings are refused")?;
        for (number, problem) in self.0.iter().enumerate() {
            write!(f, "{} {problem}", if number == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigProblems {}

impl Classify for ConfigProblems {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// With all problems at once.
    pub fn check(&self) -> Result<(), ConfigProblems> {
        let mut problems = Vec::new();
        if !is_interface_name(&self.bridge) {
            problems.push(ConfigProblem::Bridge {
                name: self.bridge.clone(),
            });
        }
        if !is_table_name(&self.table) {
            problems.push(ConfigProblem::Table {
                name: self.table.clone(),
            });
        }
        self.check_subnets(&mut problems);
        if let Some(mtu) = self.mtu.filter(|mtu| !(1280..=65_535).contains(mtu)) {
            problems.push(ConfigProblem::Mtu { mtu });
        }
        if self.first_port < 1024 || self.first_port > self.last_port {
            problems.push(ConfigProblem::Ports {
                first: self.first_port,
                last: self.last_port,
            });
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigProblems(problems))
        }
    }

    fn check_subnets(&self, problems: &mut Vec<ConfigProblem>) {
        if self.ipv4_subnet.is_none() && self.ipv6_subnet.is_none() {
            problems.push(ConfigProblem::NoSubnet);
        }
        if let Some(subnet) = self.ipv4_subnet {
            problems.extend(wrong_with4(subnet));
        }
        if let Some(subnet) = self.ipv6_subnet {
            problems.extend(wrong_with6(subnet));
        }
    }
}

/// Returns what is wrong with a range of sandboxes.
pub(crate) fn wrong_with4(subnet: Ipv4Net) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    if !(8..=29).contains(&subnet.prefix_len()) {
        problems.push(ConfigProblem::Prefix4 { subnet });
    }
    let first = subnet.network();
    let unusual = first.octets()[0] >= 224 || first.octets()[0] == 0;
    if first.is_loopback() || first.is_link_local() || unusual {
        problems.push(ConfigProblem::Reserved {
            subnet: subnet.into(),
        });
    }
    problems
}

/// As [`wrong_with4`].
pub(crate) fn wrong_with6(subnet: Ipv6Net) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    if !(32..=120).contains(&subnet.prefix_len()) {
        problems.push(ConfigProblem::Prefix6 { subnet });
    }
    let first = subnet.network();
    if first.is_multicast() || first.is_unicast_link_local() || first.segments()[0] == 0 {
        problems.push(ConfigProblem::Reserved {
            subnet: subnet.into(),
        });
    }
    problems
}

fn is_interface_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=MAX_INTERFACE_NAME).contains(&name.len())
        && name.bytes().all(plain)
        && name.bytes().any(|b| b != b'.')
        // Directories of this name stand beside those of interfaces below /proc/sys.
        && !matches!(name, "all" | "default" | "lo")
}

fn is_table_name(name: &str) -> bool {
    name.len() <= MAX_TABLE_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted() {
        let config = Config::default();
        config.check().unwrap();
        assert!(config.ipv4_subnet.is_some() && config.ipv6_subnet.is_some());
    }

    #[test]
    fn all_problems_are_told_together() {
        let config = Config {
            bridge: "a name with spaces".to_owned(),
            table: "t; flush ruleset".to_owned(),
            ipv4_subnet: "127.0.0.0/30".parse().ok(),
            ipv6_subnet: "fe80::/10".parse().ok(),
            mtu: Some(10),
            first_port: 80,
            last_port: 70,
            ..Config::default()
        };
        let problems = config.check().unwrap_err();
        assert_eq!(problems.0.len(), 8, "{problems}");
        assert_eq!(problems.kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn names_that_would_be_other_things_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "all",
            "default",
            "lo",
            "sixteen-letters0",
            "a\"b",
        ] {
            assert!(!is_interface_name(bad), "{bad:?}");
        }
        for bad in ["", "1x", "a-b", "a b", "é"] {
            assert!(!is_table_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_network_without_any_subnet_is_refused() {
        let config = Config {
            ipv4_subnet: None,
            ipv6_subnet: None,
            ..Config::default()
        };
        assert_eq!(config.check().unwrap_err().0, [ConfigProblem::NoSubnet]);
    }
}
