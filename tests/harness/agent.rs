//! The agent under test, on directories, names and addresses of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::cgroup;
use crate::cri::{Cri, channel};
use crate::leak::{Scope, Traces};
use crate::process::{self, Process};
use crate::slot::Slot;
use crate::wait;

/// How much of a log is shown.
const LOG_TAIL: usize = 64 << 10;

/// What an agent is started with.
#[derive(Debug, Default)]
pub struct Options {
    /// The program; built beside the test unless given.
    pub program: Option<PathBuf>,
    /// Lines of configuration by section; they replace the harness's own lines of the same key.
    pub configuration: BTreeMap<&'static str, Vec<String>>,
    /// Variables of the daemon's environment.
    pub environment: Vec<(String, String)>,
    /// Addresses it is told to listen on in place of one socket in its directory; with none of
    /// them it chooses itself.
    pub listen: Option<Vec<String>>,
    /// Its root directory; one in its directory unless given.
    pub root: Option<PathBuf>,
}

impl Options {
    /// Adds a line of configuration, such as `("images", "concurrent_downloads = 1")`.
    #[must_use]
    pub fn with(mut self, section: &'static str, line: impl Into<String>) -> Self {
        self.configuration
            .entry(section)
            .or_default()
            .push(line.into());
        self
    }

    /// Adds a variable to the daemon's environment.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has the agent listen on these addresses; on none: where it thinks best.
    #[must_use]
    pub fn listening_on(mut self, addresses: &[String]) -> Self {
        self.listen = Some(addresses.to_vec());
        self
    }
}

/// A running agent. Dropping it ends it, its shims and its containers, and prints its log.
#[derive(Debug)]
pub struct Agent {
    options: Options,
    slot: Slot,
    directory: TempDir,
    socket: PathBuf,
    child: Option<Child>,
}

impl Agent {
    /// Starts an agent and returns once it serves.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts an agent with these options and returns once it serves.
    pub async fn start_with(options: Options) -> Result<Self> {
        let agent = Self::spawn(options)?;
        agent.serving().await?;
        Ok(agent)
    }

    /// Starts an agent and returns at once.
    pub fn spawn(options: Options) -> Result<Self> {
        // Shims that outlive the agent become children of this process, and are found by that.
        nix::sys::prctl::set_child_subreaper(true).context("become the reaper of orphans")?;
        let directory = tempfile::Builder::new()
            .prefix("agent-")
            .tempdir()
            .context("make the agent's directory")?;
        let slot = Slot::take()?;
        let socket = match options.listen.as_deref() {
            None => directory.path().join("agent.sock"),
            Some([]) => directory.path().join("state/node-agent.sock"),
            Some([first, ..]) => PathBuf::from(first.trim_start_matches("unix://")),
        };
        let mut agent = Self {
            options,
            slot,
            socket,
            directory,
            child: None,
        };
        // A test that was killed could not take its own away; the slot's lock says that it is gone.
        agent
            .scope()
            .clear()
            .context("clear away what an earlier test left")?;
        std::fs::write(agent.file("config.toml"), agent.configuration())
            .context("write the configuration")?;
        std::fs::create_dir(agent.file("logs")).context("make the directory for pods' logs")?;
        agent.spawn_again()?;
        Ok(agent)
    }

    /// Starts the daemon of an agent that has ended.
    pub fn spawn_again(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the agent runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.file("log"))
            .context("open the agent's log")?;
        let program = match &self.options.program {
            Some(program) => program.clone(),
            None => beside_us("node-agent")?,
        };
        let own = || vec![format!("unix://{}", self.socket.display())];
        let listen = self.options.listen.clone().unwrap_or_else(own);
        let child = Command::new(&program)
            .arg("--config")
            .arg(self.file("config.toml"))
            .arg("--root")
            .arg(self.root())
            .arg("--state")
            .arg(self.state())
            .args(listen.iter().flat_map(|address| ["--listen", address]))
            .envs(self.options.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Returns once the agent's health is SERVING; fails if it ends before.
    pub async fn serving(&self) -> Result<()> {
        wait::until_async("the agent serves", || async {
            let pid = self.pid();
            if process::read(pid).is_none_or(|one| one.state == 'Z') {
                bail!("the agent (pid {pid}) has ended: {}", self.log());
            }
            let mut health = HealthClient::new(channel(&self.socket).await?);
            let answer = health
                .check(HealthCheckRequest {
                    service: String::new(),
                })
                .await?
                .into_inner();
            Ok((answer.status() == ServingStatus::Serving).then_some(()))
        })
        .await
    }

    /// Ends the daemon with SIGKILL; its sandboxes go on.
    pub fn kill9(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            bail!("the agent does not run")
        };
        child.kill().context("kill the agent")?;
        child.wait().context("wait for the agent")?;
        Ok(())
    }

    /// Ends the daemon with SIGTERM; its sandboxes go on.
    pub fn terminate(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            bail!("the agent does not run")
        };
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)
            .context("signal the agent")?;
        let status = wait::until("the agent ends on SIGTERM", || Ok(child.try_wait()?))?;
        ensure!(status.success(), "the agent ended with {status} on SIGTERM");
        Ok(())
    }

    /// Kills the daemon, starts it again, and returns once it serves.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill9()?;
        self.spawn_again()?;
        self.serving().await
    }

    /// Connects to both CRI services.
    pub async fn cri(&self) -> Result<Cri> {
        Cri::connect(&self.socket).await
    }

    /// Returns the daemon's process id; 0 while it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Returns where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns its root directory.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.options
            .root
            .clone()
            .unwrap_or_else(|| self.file("root"))
    }

    /// Returns its state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.file("state")
    }

    /// Returns the directory that pods' log directories are made in.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.file("logs")
    }

    /// Returns a directory that goes with the agent, for whatever a test needs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the names only this agent uses.
    #[must_use]
    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Returns the launcher and the shims, those of earlier daemons too.
    pub fn helpers(&self) -> Result<Vec<Process>> {
        self.scope().helpers()
    }

    /// Returns the processes in this agent's containers that have this command line, and have not ended.
    /// Others of the machine may have the same.
    pub fn running(&self, command: &str) -> Vec<Process> {
        let inside = cgroup::processes(&self.slot.names().cgroup);
        let all = inside.into_iter().filter_map(process::read);
        all.filter(|one| one.state != 'Z' && one.command == command)
            .collect()
    }

    /// Returns what the agent wrote to its log so far, the last of it.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.file("log")).unwrap_or_default();
        let tail = &bytes[bytes.len().saturating_sub(LOG_TAIL)..];
        String::from_utf8_lossy(tail).into_owned()
    }

    /// Returns where to look for what this agent has on the machine.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let daemon = self.child.as_ref().map(Child::id);
        Scope {
            names: self.slot.names(),
            directory: self.directory.path().to_owned(),
            daemon,
        }
    }

    /// Ends the agent in order; fails if anything is left but its bridge and table, which go now.
    pub fn finish(mut self) -> Result<()> {
        if self.child.is_some() {
            self.terminate()?;
        }
        let scope = self.scope();
        wait::until("nothing is left", || {
            let left = scope.of_sandboxes(&scope.traces()?, &Traces::new());
            if left.is_empty() {
                Ok(Some(()))
            } else {
                bail!("left: {left:#?}")
            }
        })?;
        scope.clear()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn configuration(&self) -> String {
        let mut sections: BTreeMap<&str, Vec<String>> = self.slot.configuration();
        // Never the machine's own, whatever lies there.
        let directory = self.directory.path().join("cni/net.d");
        let known = sections.entry("cni").or_default();
        known.push(format!("config_directory = {directory:?}"));
        let directory = self.directory.path().join("registries.d");
        let known = sections.entry("images").or_default();
        known.push(format!("registries_directory = {directory:?}"));
        known.push("credential_files = []".to_owned());
        let directories =
            ["static", "dynamic"].map(|name| self.directory.path().join("cdi").join(name));
        let known = sections.entry("containers").or_default();
        known.push(format!("cdi_directories = {directories:?}"));
        for (section, lines) in &self.options.configuration {
            let known = sections.entry(section).or_default();
            for line in lines {
                let key = line.split('=').next().unwrap_or_default().trim().to_owned();
                known.retain(|old| old.split('=').next().unwrap_or_default().trim() != key);
                known.push(line.clone());
            }
        }
        let mut text = sections.remove("").unwrap_or_default().join("\n");
        for (section, lines) in sections {
            let _ = write!(text, "\n[{section}]\n{}\n", lines.join("\n"));
        }
        text
    }
}

impl Drop for Agent {
    #[expect(
        clippy::print_stderr,
        reason = "the runner shows it when the test has failed"
    )]
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        eprintln!(
            "--- log of the agent in {}\n{}---",
            self.directory.path().display(),
            self.log()
        );
        if let Err(error) = self.scope().clear() {
            eprintln!("the agent could not be cleared away: {error:?}");
        }
    }
}

/// Returns a program of this project that was built with the running one.
pub fn beside_us(name: &str) -> Result<PathBuf> {
    let us = std::env::current_exe().context("find the running program")?;
    let directories = us.ancestors().skip(1).take(2);
    let found = directories
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    found.with_context(|| format!("{name} is not beside {}: build it first", us.display()))
}
