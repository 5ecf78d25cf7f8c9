//! Says whether sandboxes can be joined: configuration, programs, versions, and STATUS.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::{Cni, Inner};
use crate::config::{NetworkConfig, PluginConfig};
use crate::error::StatusError;
use crate::plugin::{PluginError, supported_versions};
use crate::request::Request;
use crate::version::SpecVersion;

/// Programs whose versions are remembered.
const REMEMBERED: usize = 64;

/// A program, as it was when it was asked which versions it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Program {
    path: PathBuf,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// What a program answered.
#[derive(Debug)]
pub(super) struct Asked {
    program: Program,
    versions: Vec<SpecVersion>,
}

impl Cni {
    /// Says whether sandboxes can be joined now, and to which network.
    ///
    /// The directory is looked at each time. A plugin is asked for its versions when its program
    /// is new; STATUS is run each time, where the network's version has it.
    ///
    /// # Errors
    /// With what is in the way.
    pub async fn status(&self) -> Result<Arc<NetworkConfig>, StatusError> {
        let inner = Arc::clone(&self.inner);
        let network = tokio::task::spawn_blocking(move || inner.directory.first()).await??;
        let failed = |source| StatusError::Plugin {
            network: network.name.clone(),
            source,
        };
        for plugin in &network.plugins {
            let versions = self.inner.versions(&network, plugin).await;
            if !versions.map_err(failed)?.contains(&network.version) {
                return Err(StatusError::Version {
                    network: network.name.clone(),
                    plugin: plugin.program().to_owned(),
                    version: network.version,
                });
            }
        }
        if network.version.has_status_and_gc() {
            for plugin in &network.plugins {
                let request = Request::status(&network, plugin);
                let asked = self.inner.runner.run(plugin.program(), &request).await;
                asked.map_err(failed)?;
            }
        }
        Ok(network)
    }
}

impl Inner {
    /// Returns the versions that a plugin's program speaks.
    async fn versions(
        &self,
        network: &NetworkConfig,
        plugin: &PluginConfig,
    ) -> Result<Vec<SpecVersion>, PluginError> {
        let path = self.runner.find(plugin.program())?;
        let program = program(path);
        {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let known = asked
                .iter()
                .find(|one| Some(&one.program) == program.as_ref());
            if let Some(known) = known {
                return Ok(known.versions.clone());
            }
        }
        let request = Request::version(network);
        let answer = self.runner.run(plugin.program(), &request).await?;
        let versions = supported_versions(&answer);
        if let Some(program) = program {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.retain(|one| one.program.path != program.path);
            if asked.len() >= REMEMBERED {
                asked.remove(0);
            }
            asked.push(Asked {
                program,
                versions: versions.clone(),
            });
        }
        Ok(versions)
    }
}

fn program(path: PathBuf) -> Option<Program> {
    let found = std::fs::metadata(&path).ok()?;
    Some(Program {
        inode: found.ino(),
        bytes: found.size(),
        changed: (found.ctime(), found.ctime_nsec()),
        path,
    })
}
