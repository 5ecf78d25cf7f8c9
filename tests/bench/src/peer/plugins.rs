//! The network that every peer joins its pods to where plugins do it: a bridge of the peer's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use harness::command;
use serde_json::json;

/// Where Debian keeps the plugins.
pub(super) const DIRECTORY: &str = "/usr/lib/cni";

/// A bridge that the plugins make; dropping it removes it, so it must outlive the peer's pods.
#[derive(Debug)]
pub(super) struct Bridge {
    name: String,
}

impl Bridge {
    /// Writes the configuration into `directory`/cni, which this makes.
    pub(super) fn configure(directory: &Path, number: usize) -> Result<Self> {
        let bridge = Self {
            name: format!("bench{number}"),
        };
        let configuration = configurations(directory);
        std::fs::create_dir(&configuration)
            .with_context(|| format!("make {}", configuration.display()))?;
        std::fs::write(
            configuration.join("10-bench.conflist"),
            bridge.network(directory, number),
        )?;
        Ok(bridge)
    }

    fn network(&self, directory: &Path, number: usize) -> String {
        let subnet = format!("10.{}.0.0/16", 231 + number);
        let network = json!({
            "cniVersion": "0.4.0",
            "name": self.name,
            "plugins": [{
                "type": "bridge",
                "bridge": self.name,
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": directory.join("ipam").display().to_string(),
                    "ranges": [[{"subnet": subnet}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }],
        });
        network.to_string()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Without pods there never was one.
        let _ = command::output(Command::new("ip").args(["link", "delete", &self.name]));
    }
}

/// Returns where the configuration lies.
pub(super) fn configurations(directory: &Path) -> PathBuf {
    directory.join("cni")
}
