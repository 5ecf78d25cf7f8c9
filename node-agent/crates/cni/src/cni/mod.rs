//! What is done with a network as a whole: one file for each thing.

mod attach;
mod check;
mod detach;
mod gc;
mod plan;
mod status;
mod strays;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::config::Directory;
use crate::plugin::Runner;
use status::Asked;

/// Where things are, and how long they may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where configurations are looked for.
    pub config_directory: PathBuf,
    /// Where plugins are looked for, in this order.
    pub plugin_directories: Vec<PathBuf>,
    /// Where network namespaces are pinned; it is made at need.
    pub netns_directory: PathBuf,
    /// How long one run of one plugin may take.
    pub time_limit: Duration,
}

/// The door to networks of plugins. Clones share everything.
#[derive(Debug, Clone)]
pub struct Cni {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    directory: Directory,
    runner: Runner,
    /// Plugins that were asked which versions they speak.
    asked: Mutex<Vec<Asked>>,
}

impl Cni {
    /// Opens the door; nothing is looked at or made.
    ///
    /// Descriptors that this program was started with are kept from plugins from now on.
    #[must_use]
    pub fn new(config: Config) -> Self {
        if let Err(error) = agent_sys::process::keep_descriptors_from_programs() {
            tracing::warn!(error = %error, "network plugins will see inherited descriptors");
        }
        let runner = Runner {
            directories: config.plugin_directories.clone(),
            limit: config.time_limit,
        };
        let inner = Inner {
            directory: Directory::new(config.config_directory.clone()),
            runner,
            config,
            asked: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns the pins there are, whoever's they are; blocking.
    #[must_use]
    pub fn pinned(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.inner.config.netns_directory);
        entries
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect()
    }

    /// Says whether somebody put a configuration there, valid or not; blocking, some system calls.
    #[must_use]
    pub fn has_configuration(&self) -> bool {
        self.inner.directory.has_any()
    }
}
