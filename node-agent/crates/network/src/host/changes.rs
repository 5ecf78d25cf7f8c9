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
    /// Tells our bridge from that of another agent; chosen once, at the first change.
    #[serde(default)]
    pub owner: String,
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

/// Begins the note on a bridge of this project.
const MARK: &str = "node-agent";
/// Longest alias the kernel takes.
const MAX_ALIAS: usize = 255;

/// What the note on a bridge tells agents beside its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Whose bridge it is.
    pub(crate) owner: String,
    /// Name of its nftables tables.
    pub(crate) table: String,
    /// Settings its agent has changed, and what they were.
    pub(crate) sysctls: Vec<(String, String)>,
}

impl Mark {
    /// Reads the alias of a bridge; none where it is not of this project.
    pub(crate) fn parse(alias: &str) -> Option<Self> {
        let mut words = alias.split(' ');
        if words.next() != Some(MARK) {
            return None;
        }
        let mut mark = Self::default();
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "owner" => value.clone_into(&mut mark.owner),
                "table" => value.clone_into(&mut mark.table),
                _ => mark.sysctls.push((key.to_owned(), value.to_owned())),
            }
        }
        Some(mark)
    }
}

impl HostChanges {
    /// Returns the alias of our bridge.
    ///
    /// Another agent on the machine finds forwarding switched on already. From here it learns
    /// what it was before, so that whoever leaves last can undo it.
    pub(crate) fn to_alias(&self) -> String {
        let table = self.table.as_deref().unwrap_or_default();
        let mut alias = format!("{MARK} owner={} table={table}", self.owner);
        for change in &self.sysctls {
            let entry = format!(" {}={}", change.key, change.before);
            if alias.len() + entry.len() <= MAX_ALIAS {
                alias.push_str(&entry);
            }
        }
        alias
    }

    /// Says whether a bridge is the one these changes tell of.
    ///
    /// Without a note it is one whose agent was killed between making and marking it.
    pub(crate) fn own(&self, name: &str, alias: &str) -> bool {
        match Mark::parse(alias) {
            Some(mark) => mark.owner == self.owner && !self.owner.is_empty(),
            None => alias.is_empty() && self.bridge.as_deref() == Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(count: usize) -> HostChanges {
        HostChanges {
            owner: "0123abcd".to_owned(),
            bridge: Some("nodeagent0".to_owned()),
            table: Some("node_agent".to_owned()),
            sysctls: (0..count)
                .map(|n| SysctlChange {
                    key: format!("net/ipv6/conf/eth{n}/accept_ra"),
                    before: "1".to_owned(),
                    after: "2".to_owned(),
                })
                .collect(),
        }
    }

    #[test]
    fn an_alias_tells_what_was_changed() {
        let mark = Mark::parse(&changes(2).to_alias()).unwrap();
        assert_eq!(
            (mark.owner.as_str(), mark.table.as_str()),
            ("0123abcd", "node_agent")
        );
        assert_eq!(
            mark.sysctls[1],
            ("net/ipv6/conf/eth1/accept_ra".to_owned(), "1".to_owned())
        );
        assert!(changes(50).to_alias().len() <= MAX_ALIAS);
    }

    #[test]
    fn only_our_mark_is_ours() {
        assert_eq!(Mark::parse("node-agent"), Some(Mark::default()));
        for other in ["", "docker", "node-agents bridge", "a node-agent"] {
            assert_eq!(Mark::parse(other), None, "{other:?}");
        }
        let ours = changes(0);
        assert!(ours.own("nodeagent0", &ours.to_alias()));
        assert!(ours.own("nodeagent0", ""), "made, and not yet marked");
        assert!(!ours.own("nodeagent1", ""));
        assert!(!ours.own("nodeagent0", "of somebody"));
        let other = HostChanges {
            owner: "another".to_owned(),
            ..changes(0)
        };
        assert!(!ours.own("nodeagent0", &other.to_alias()));
        assert!(!HostChanges::default().own("nodeagent0", "node-agent"));
    }
}
