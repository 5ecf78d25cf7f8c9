//! This project's agent on a private root, state directory and socket.

use std::path::Path;

use anyhow::{Context as _, Result};
use harness::agent::{Agent, Options};
use tempfile::TempDir;

use super::plugins::{self, Bridge};

/// Who joins its pods to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joiner {
    /// The agent.
    BuiltIn,
    /// CNI plugins, as containerd does it.
    Plugins,
}

/// A running agent.
#[derive(Debug)]
pub(crate) struct AgentPeer {
    agent: Agent,
    /// The plugins' network and the directory of its files; both go after the agent.
    _network: Option<(Bridge, TempDir)>,
}

impl AgentPeer {
    /// Writes its configuration and starts it.
    pub(crate) fn start(program: &Path, joiner: Joiner, number: usize) -> Result<Self> {
        let options = Options {
            program: Some(program.to_owned()),
            ..Options::default()
        };
        let mut options = options.with("log", "level = \"warn\"");
        let mut network = None;
        if joiner == Joiner::Plugins {
            let directory = tempfile::Builder::new()
                .prefix("bench-plugins-")
                .tempdir()
                .context("make a directory for the plugins' network")?;
            let bridge = Bridge::configure(directory.path(), number)?;
            let configurations = plugins::configurations(directory.path());
            options = options
                .with("network", "cri = \"cni\"")
                .with("cni", format!("config_directory = {configurations:?}"))
                .with(
                    "cni",
                    format!("plugin_directories = [{:?}]", plugins::DIRECTORY),
                );
            network = Some((bridge, directory));
        }
        Ok(Self {
            agent: Agent::spawn(options)?,
            _network: network,
        })
    }

    /// Ends the daemon with SIGKILL; its pods go on.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.agent.kill9()
    }

    /// Starts the daemon again.
    pub(crate) fn spawn(&mut self) -> Result<()> {
        self.agent.spawn_again()
    }

    /// Returns the daemon's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.agent.pid()
    }

    /// Returns where it listens.
    pub(crate) fn socket(&self) -> &Path {
        self.agent.socket()
    }

    /// Returns the process ids of launcher and shims.
    pub(crate) fn shims(&self) -> Result<Vec<u32>> {
        Ok(self.agent.helpers()?.iter().map(|one| one.pid).collect())
    }

    /// Stops it and removes what it made.
    pub(crate) fn stop(self) -> Result<()> {
        self.agent.finish()
    }
}
