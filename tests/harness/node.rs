//! An agent, a registry and a small image, which is all that most tests need.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use proto::cri::{
    ContainerConfig, ContainerState, ContainerStatus, ListContainersRequest, ListPodSandboxRequest,
    PodSandboxConfig,
};

use crate::agent::{Agent, Options};
use crate::cri::Cri;
use crate::ctl::Ctl;
use crate::image::Image;
use crate::leak::Traces;
use crate::pod;
use crate::registry::Registry;
use crate::wait;

/// A node under test.
#[derive(Debug)]
pub struct Node {
    /// The agent.
    pub agent: Agent,
    /// The registry the image came from.
    pub registry: Registry,
    /// A client of the agent's.
    pub cri: Cri,
    /// Busybox, pulled.
    pub image: String,
    /// What is on the machine of the agent without sandboxes.
    idle: Traces,
}

/// A sandbox, and what it was asked for with.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Its id.
    pub id: String,
    /// Its configuration.
    pub config: PodSandboxConfig,
}

impl Node {
    /// Starts a node and pulls busybox.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts a node with these options and pulls busybox.
    pub async fn start_with(options: Options) -> Result<Self> {
        let registry = Registry::start()?;
        let image = registry.push("test/busybox:1", &Image::busybox()?)?;
        let agent = Agent::start_with(options).await?;
        let cri = agent.cri().await?;
        cri.pull(&image).await.context("pull busybox")?;
        let idle = agent.scope().traces()?;
        Ok(Self {
            agent,
            registry,
            cri,
            image,
            idle,
        })
    }

    /// Returns the configuration of a sandbox of this name.
    #[must_use]
    pub fn sandbox_config(&self, name: &str) -> PodSandboxConfig {
        pod::sandbox_config(name, &self.agent.logs(), "")
    }

    /// Returns the configuration of a container with this command.
    #[must_use]
    pub fn container_config(&self, name: &str, command: &[&str]) -> ContainerConfig {
        pod::container_config(name, &self.image, command)
    }

    /// Runs a sandbox of this name.
    pub async fn sandbox(&self, name: &str) -> Result<Sandbox> {
        self.sandbox_of(self.sandbox_config(name)).await
    }

    /// Runs a sandbox of this configuration.
    pub async fn sandbox_of(&self, config: PodSandboxConfig) -> Result<Sandbox> {
        let id = self
            .cri
            .run_sandbox(&config)
            .await
            .context("RunPodSandbox")?;
        Ok(Sandbox { id, config })
    }

    /// Creates and starts a container with this command and returns its id.
    pub async fn run(&self, sandbox: &Sandbox, name: &str, command: &[&str]) -> Result<String> {
        self.run_of(sandbox, &self.container_config(name, command))
            .await
    }

    /// Creates and starts a container of this configuration and returns its id.
    pub async fn run_of(&self, sandbox: &Sandbox, config: &ContainerConfig) -> Result<String> {
        let id = self
            .cri
            .create_container(&sandbox.id, config, &sandbox.config)
            .await
            .context("CreateContainer")?;
        self.cri
            .start_container(&id)
            .await
            .context("StartContainer")?;
        Ok(id)
    }

    /// Runs a shell line to its end and returns its exit code and everything it wrote.
    pub async fn shell(&self, sandbox: &Sandbox, name: &str, line: &str) -> Result<(i32, String)> {
        self.shell_of(
            sandbox,
            &self.container_config(name, &["/bin/sh", "-c", line]),
        )
        .await
    }

    /// Runs a container to its end and returns its exit code and everything it wrote.
    pub async fn shell_of(
        &self,
        sandbox: &Sandbox,
        config: &ContainerConfig,
    ) -> Result<(i32, String)> {
        let id = self.run_of(sandbox, config).await?;
        let status = self.exited(&id).await?;
        let log = self.log_of(sandbox, config);
        let text =
            std::fs::read_to_string(&log).with_context(|| format!("read {}", log.display()))?;
        let words = text.lines().filter_map(|line| line.splitn(4, ' ').nth(3));
        Ok((
            status.exit_code,
            words.map(|word| format!("{word}\n")).collect(),
        ))
    }

    /// Returns where a container's log is written.
    #[must_use]
    pub fn log_of(&self, sandbox: &Sandbox, config: &ContainerConfig) -> PathBuf {
        PathBuf::from(&sandbox.config.log_directory).join(&config.log_path)
    }

    /// Returns a container's status once it has exited.
    pub async fn exited(&self, id: &str) -> Result<ContainerStatus> {
        wait::until_async(&format!("container {id} exits"), || async {
            let status = self.cri.container_status(id).await?;
            Ok((status.state() == ContainerState::ContainerExited).then_some(status))
        })
        .await
    }

    /// Runs a shell line in a running container and returns its stdout; any other end than 0 is an error.
    pub async fn exec(&self, container: &str, line: &str) -> Result<String> {
        let answer = self
            .cri
            .exec(container, &["/bin/sh", "-c", line], 20)
            .await
            .context("ExecSync")?;
        let (stdout, stderr) = (
            String::from_utf8_lossy(&answer.stdout),
            String::from_utf8_lossy(&answer.stderr),
        );
        if answer.exit_code != 0 {
            bail!(
                "`{line}` ended with {}:\n{stdout}{stderr}",
                answer.exit_code
            );
        }
        Ok(stdout.into_owned())
    }

    /// Returns `ctl`, pointed at the agent.
    pub fn ctl(&self) -> Result<Ctl> {
        Ctl::of(&self.agent)
    }

    /// Starts the daemon again after a SIGKILL, and connects anew.
    pub async fn restart(&mut self) -> Result<()> {
        self.agent.restart().await?;
        self.cri = self.agent.cri().await?;
        Ok(())
    }

    /// Stops and removes every sandbox that CRI lists.
    pub async fn remove_all(&self) -> Result<()> {
        let list = self
            .cri
            .runtime
            .clone()
            .list_pod_sandbox(ListPodSandboxRequest { filter: None })
            .await?;
        for sandbox in list.into_inner().items {
            self.cri
                .stop_sandbox(&sandbox.id)
                .await
                .context("StopPodSandbox")?;
            self.cri
                .remove_sandbox(&sandbox.id)
                .await
                .context("RemovePodSandbox")?;
        }
        let list = self
            .cri
            .runtime
            .clone()
            .list_containers(ListContainersRequest { filter: None })
            .await?;
        let left = list.into_inner().containers;
        anyhow::ensure!(
            left.is_empty(),
            "containers outlive their sandboxes: {left:#?}"
        );
        Ok(())
    }

    /// Removes every sandbox and ends the agent in order; fails if anything of theirs is left.
    pub async fn finish(self) -> Result<()> {
        self.remove_all().await?;
        self.nothing_left().await?;
        self.agent.finish()
    }

    /// Returns once nothing of any sandbox is on the machine.
    pub async fn nothing_left(&self) -> Result<()> {
        let scope = self.agent.scope();
        wait::until_async("nothing of any sandbox is left", || async {
            let left = scope.of_sandboxes(&scope.traces()?, &self.idle);
            if left.is_empty() {
                Ok(Some(()))
            } else {
                bail!("left: {left:#?}")
            }
        })
        .await
    }
}
