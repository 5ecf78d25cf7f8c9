//! This project's agent on a private root, state directory and socket.

use std::path::Path;

use anyhow::Result;
use harness::agent::{Agent, Options};

/// A running agent.
#[derive(Debug)]
pub(crate) struct AgentPeer {
    agent: Agent,
}

impl AgentPeer {
    /// Writes its configuration and starts it.
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let options = Options {
            program: Some(program.to_owned()),
            ..Options::default()
        };
        let options = options.with("log", "level = \"warn\"");
        Ok(Self {
            agent: Agent::spawn(options)?,
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
