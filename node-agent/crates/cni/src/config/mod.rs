//! Configurations of networks: files that a cluster's network lays down in a directory.

mod directory;
mod parse;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::version::SpecVersion;

pub(crate) use directory::Directory;
pub use directory::SearchError;
pub use parse::ConfigError;

/// A network and the chain of plugins that make it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// Its name, which plugins key what they keep by.
    pub name: String,
    /// The version that its plugins are spoken to in: the highest it names that this node knows.
    pub version: SpecVersion,
    /// Whether CHECK is not to be run.
    pub disable_check: bool,
    /// Whether GC is not to be run.
    pub disable_gc: bool,
    /// Its plugins, in the order of ADD.
    pub plugins: Vec<PluginConfig>,
}

/// One plugin of a network, as its configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PluginConfig(pub(crate) Map<String, Value>);

impl PluginConfig {
    /// Returns the name of the program.
    #[must_use]
    pub fn program(&self) -> &str {
        self.0
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Says whether the plugin wants to be told of a capability.
    pub(crate) fn has_capability(&self, name: &str) -> bool {
        let declared = self.0.get("capabilities").and_then(|all| all.get(name));
        declared.and_then(Value::as_bool).unwrap_or(false)
    }
}
