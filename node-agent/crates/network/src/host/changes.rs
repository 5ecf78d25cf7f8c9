//! The list of what was changed on the host, as the ledger keeps it.

use std::error::Error;

use serde::{Deserialize, Serialize};

/// A kernel setting that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SysctlChange {
    /// Path below /proc/sys, such as `net/ipv4/ip_forward`.
    pub key: String,
    /// Value that was found.
    pub before: String,
    /// Value that was set.
    pub after: String,
}

/// Everything the network owns or has changed on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostChanges {
    /// The bridge, once it is about to be made.
    pub bridge: Option<String>,
    /// The nftables tables, once they are about to be made.
    pub table: Option<String>,
    /// Settings that outlive the bridge, in the order they were changed.
    #[serde(default)]
    pub sysctls: Vec<SysctlChange>,
}

/// Why the ledger did not take an entry.
pub type LedgerError = Box<dyn Error + Send + Sync>;

/// Keeps the list of changes where it survives the agent.
pub trait Ledger: Send + Sync {
    /// Saves `changes` in place of what was saved before. Called before each change is made.
    ///
    /// # Errors
    /// When it cannot be saved; the change is then not made.
    fn record(&self, changes: &HostChanges) -> Result<(), LedgerError>;
}

/// Mark of a bridge of this project, in its alias; what follows is for agents beside us.
const MARK: &str = "node-agent";
/// Longest alias the kernel takes.
const MAX_ALIAS: usize = 255;

impl HostChanges {
    /// Returns the alias of our bridge: the mark and the changed settings.
    ///
    /// Another agent on the machine finds forwarding switched on already. From here it learns
    /// what it was before, so that whoever leaves last can undo it.
    pub(crate) fn to_alias(&self) -> String {
        let mut alias = MARK.to_owned();
        for change in &self.sysctls {
            let entry = format!(" {}={}", change.key, change.before);
            if alias.len() + entry.len() <= MAX_ALIAS {
                alias.push_str(&entry);
            }
        }
        alias
    }

    /// Returns the settings that the alias of a bridge tells of; none where it is not ours.
    pub(crate) fn parse_alias(alias: &str) -> Option<Vec<(String, String)>> {
        let rest = alias.strip_prefix(MARK)?;
        if !rest.is_empty() && !rest.starts_with(' ') {
            return None;
        }
        let pair = |entry: &str| {
            let (key, value) = entry.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        };
        Some(rest.split_whitespace().filter_map(pair).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(count: usize) -> HostChanges {
        HostChanges {
            sysctls: (0..count)
                .map(|n| SysctlChange {
                    key: format!("net/ipv6/conf/eth{n}/accept_ra"),
                    before: "1".to_owned(),
                    after: "2".to_owned(),
                })
                .collect(),
            ..HostChanges::default()
        }
    }

    #[test]
    fn an_alias_tells_what_was_changed() {
        let alias = changes(2).to_alias();
        let read = HostChanges::parse_alias(&alias).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(
            read[1],
            ("net/ipv6/conf/eth1/accept_ra".to_owned(), "1".to_owned())
        );
        assert!(changes(50).to_alias().len() <= MAX_ALIAS);
    }

    #[test]
    fn only_our_mark_is_ours() {
        assert_eq!(HostChanges::parse_alias("node-agent"), Some(Vec::new()));
        for other in ["", "docker", "node-agents bridge", "a node-agent"] {
            assert_eq!(HostChanges::parse_alias(other), None, "{other:?}");
        }
    }
}
