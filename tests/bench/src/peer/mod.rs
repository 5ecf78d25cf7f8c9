//! The endpoints that are compared, and what the benchmark knows of their processes.

mod agent;
mod containerd;
mod plugins;
mod service;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use harness::cgroup;
use harness::process;
use harness::registry::Registry;
use tempfile::TempDir;

use crate::cli::{Cli, Known, PeerSpec};
use crate::cycle::Pods;
use agent::{AgentPeer, Joiner};
use containerd::{Containerd, Runtime};
use service::Service;

/// What every peer is given.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) image: &'a str,
    pub(crate) cli: &'a Cli,
}

/// An endpoint under measurement.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) versions: Vec<String>,
    pub(crate) pods: Pods,
    service: Service,
    /// Holds the pods' logs.
    _logs: TempDir,
}

impl Peer {
    /// Starts the peer, or connects to it, and has it pull the image.
    pub(crate) async fn start(
        spec: &PeerSpec,
        number: usize,
        around: &Surroundings<'_>,
    ) -> Result<Self> {
        let logs = tempfile::Builder::new()
            .prefix("bench-logs-")
            .tempdir()
            .context("make a directory for logs")?;
        let cgroup_parent = format!("/bench-{}-{number}", std::process::id());
        let service = match spec {
            PeerSpec::Known(Known::ContainerdRunc) => Service::Containerd(Containerd::start(
                Runtime::Runc,
                number,
                &cgroup_parent,
                around.registry,
            )?),
            PeerSpec::Known(Known::ContainerdCrun) => Service::Containerd(Containerd::start(
                Runtime::Crun,
                number,
                &cgroup_parent,
                around.registry,
            )?),
            PeerSpec::Known(Known::NodeAgent) => Service::Agent(AgentPeer::start(
                &around.cli.agent,
                Joiner::BuiltIn,
                number,
            )?),
            PeerSpec::Known(Known::NodeAgentPlugins) => Service::Agent(AgentPeer::start(
                &around.cli.agent,
                Joiner::Plugins,
                number,
            )?),
            PeerSpec::External(external) => Service::External(external.clone()),
        };
        let cri = service.serving().await?;
        let answer = cri.version().await.context("ask for the version")?;
        let mut versions = vec![format!(
            "{} {}",
            answer.runtime_name, answer.runtime_version
        )];
        versions.extend(service.packages());
        cri.pull(around.image).await.context("pull the image")?;
        let cgroup_parent = match &service {
            Service::Agent(_) => String::new(),
            Service::Containerd(_) | Service::External(_) => cgroup_parent,
        };
        let pods = Pods {
            cri,
            image: around.image.to_owned(),
            logs: logs.path().to_owned(),
            cgroup_parent,
        };
        Ok(Self {
            name: spec.name(),
            versions,
            pods,
            service,
            _logs: logs,
        })
    }

    /// Returns the daemon's process id, where it is known.
    pub(crate) fn daemon(&self) -> Option<u32> {
        match &self.service {
            Service::Containerd(containerd) => Some(containerd.pid()),
            Service::Agent(agent) => Some(agent.pid()),
            Service::External(external) => external.pid,
        }
    }

    /// Returns the processes the daemon keeps: its helpers, and one or more for each pod.
    pub(crate) fn monitors(&self) -> Result<Vec<u32>> {
        match &self.service {
            Service::Containerd(containerd) => containerd.shims(),
            Service::Agent(agent) => agent.shims(),
            Service::External(external) => match external.pid {
                // Containers' own processes are told apart by their program.
                Some(pid) => Ok(pids(
                    process::descendants(&[pid])?
                        .iter()
                        .filter(|one| one.name != "pause"),
                )),
                None => Ok(Vec::new()),
            },
        }
    }

    /// Returns the pause processes of all pods, where the peer has such.
    pub(crate) fn pauses(&self) -> Result<Vec<u32>> {
        match &self.service {
            Service::Containerd(_) => {
                let inside = cgroup::processes(&self.pods.cgroup_parent);
                let all = process::all()?;
                Ok(pids(all.iter().filter(|one| {
                    inside.contains(&one.pid) && one.command == containerd::PAUSE_COMMAND
                })))
            }
            Service::Agent(_) | Service::External(_) => Ok(Vec::new()),
        }
    }

    /// Returns whether the benchmark may restart this peer.
    pub(crate) fn can_restart(&self) -> bool {
        !matches!(self.service, Service::External(_))
    }

    /// Kills the daemon, starts it again, and returns how long it took from its start to its
    /// first answer that needs its records.
    pub(crate) async fn restart(&mut self) -> Result<Duration> {
        match &mut self.service {
            Service::Containerd(containerd) => containerd.kill()?,
            Service::Agent(agent) => agent.kill()?,
            Service::External(_) => bail!("{} was not started here", self.name),
        }
        let begun = Instant::now();
        match &mut self.service {
            Service::Containerd(containerd) => containerd.spawn()?,
            Service::Agent(agent) => agent.spawn()?,
            Service::External(_) => {}
        }
        let cri = self.service.serving().await?;
        let took = begun.elapsed();
        self.pods.cri = cri;
        Ok(took)
    }

    /// Stops the peer if it was started here, and removes everything it made.
    pub(crate) async fn stop(self) -> Result<()> {
        self.remove_image().await?;
        match self.service {
            Service::Containerd(containerd) => containerd.stop(),
            Service::Agent(agent) => agent.stop(),
            Service::External(_) => cgroup::clear(&self.pods.cgroup_parent),
        }
    }

    /// Takes away what a run that was cut short has on a peer that goes on; one that was started
    /// here is ended with all it has when it is dropped.
    pub(crate) async fn abandon(self) -> Result<()> {
        if !matches!(self.service, Service::External(_)) {
            return Ok(());
        }
        self.pods.clear().await?;
        self.stop().await
    }

    async fn remove_image(&self) -> Result<()> {
        let removed = self.pods.cri.remove_image(&self.pods.image).await;
        removed.context("remove the image")
    }
}

fn pids<'a>(processes: impl Iterator<Item = &'a process::Process>) -> Vec<u32> {
    processes.map(|one| one.pid).collect()
}
