//! The node inside the machine: installed and run as deploy/ says.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use harness::command;
use harness::cri::Cri;
use harness::image::Image;
use harness::pod;
use harness::registry::Registry;
use proto::cri::{
    ContainerConfig, ContainerState, ContainerStatus, LinuxContainerResources,
    LinuxContainerSecurityContext, ListPodSandboxRequest, PodSandboxConfig,
};

/// Where the host's directory is.
const SHARE: &str = "/run/vm";
/// Where the node serves.
const SOCKET: &str = "/run/node-agent/node-agent.sock";
/// Where cgroup v2 is.
pub(crate) const CGROUPS: &str = "/sys/fs/cgroup";
/// The slice that a kubelet would have made for a pod.
pub(crate) const POD: &str = "kubepods-besteffort-podvm.slice";

/// Where pods lie that no kubelet has made a slice for: a dash in a slice's name is a level.
pub(crate) const OWN: &str = "/node.slice/node-agent.slice";

/// Which version of cgroups the machine was started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trees {
    /// v2 alone.
    Unified,
    /// v1, as systemd sets it up.
    Hybrid,
}

/// Which security module the machine was started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Module {
    /// AppArmor.
    Apparmor,
    /// SELinux, which enforces nothing.
    Selinux,
}

/// The node under test.
#[derive(Debug)]
pub(crate) struct Guest {
    /// A client of it.
    pub(crate) cri: Cri,
    /// Busybox, pulled.
    pub(crate) image: String,
    _registry: Option<Registry>,
}

/// A sandbox, and what it was asked for with.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// Its id.
    pub(crate) id: String,
    /// Its configuration.
    pub(crate) config: PodSandboxConfig,
}

/// Runs a program and returns what it printed.
pub(crate) fn sh(line: &str) -> Result<String> {
    command::run(Command::new("/bin/sh").args(["-ec", line]))
}

/// Returns the last that the node has written.
pub(crate) fn journal() -> String {
    sh("journalctl --no-pager --lines=30 --output=cat --unit=node-agent.service")
        .unwrap_or_default()
}

/// Reads a file of cgroup v2, without its line feed.
pub(crate) fn cgroup(path: &str, file: &str) -> Result<String> {
    let file = format!("{CGROUPS}{path}/{file}");
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    Ok(text.trim().to_owned())
}

/// Fails on a machine that is not the one these tests are for.
pub(crate) fn check_machine(trees: Trees, module: Module) -> Result<()> {
    let alone = Path::new(CGROUPS).join("cgroup.controllers").exists();
    ensure!(
        alone == (trees == Trees::Unified),
        "the kernel was not started for {trees:?}"
    );
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")?;
    let apparmor = enabled.trim() == "Y";
    let classes = std::fs::read_dir("/sys/fs/selinux/class");
    let selinux = classes.is_ok_and(|mut classes| classes.next().is_some());
    ensure!(
        (apparmor, selinux) == (module == Module::Apparmor, module == Module::Selinux),
        "AppArmor {apparmor}, SELinux {selinux}"
    );
    ensure!(std::fs::read_link("/proc/1/exe")?.ends_with("systemd"));
    Ok(())
}

impl Guest {
    /// Installs the node and starts it, with the systemd driver.
    pub(crate) async fn install() -> Result<Self> {
        for program in ["node-agent", "node-agent-shim", "ctl"] {
            std::fs::copy(
                format!("{SHARE}/bin/{program}"),
                format!("/usr/bin/{program}"),
            )?;
        }
        // A kubelet's node has plugins, and this one has none.
        let config = std::fs::read_to_string(format!("{SHARE}/deploy/kubelet/node-agent.toml"))?;
        let config = config.replace("cri = \"cni\"", "cri = \"built-in\"");
        ensure!(config.contains("built-in"));
        let runtimes = "\n[runtimes.runc]\npath = \"/usr/sbin/runc\"\n[runtimes.crun]\npath = \"/usr/bin/crun\"\n";
        let config = config + runtimes;
        std::fs::create_dir_all("/etc/node-agent")?;
        std::fs::write("/etc/node-agent/config.toml", config)?;
        std::fs::copy(
            format!("{SHARE}/deploy/node-agent.service"),
            "/etc/systemd/system/node-agent.service",
        )?;
        sh("systemctl daemon-reload; systemctl enable --now node-agent.service")?;
        let registry = Registry::start()?;
        let image = registry.push("test/busybox:1", &Image::busybox()?)?;
        let cri = Cri::connect(Path::new(SOCKET)).await?;
        cri.pull(&image).await.context("pull busybox")?;
        std::fs::write("/etc/node-agent/image", &image)?;
        Ok(Self {
            cri,
            image,
            _registry: Some(registry),
        })
    }

    /// Finds the node that systemd started at boot.
    pub(crate) async fn started() -> Result<Self> {
        // Returns at once where it runs, and once it is ready where it is starting.
        sh("systemctl is-enabled node-agent.service && systemctl start node-agent.service")?;
        Ok(Self {
            cri: Cri::connect(Path::new(SOCKET)).await?,
            image: std::fs::read_to_string("/etc/node-agent/image")?,
            _registry: None,
        })
    }

    /// Connects anew, after the daemon was started again.
    pub(crate) async fn reconnect(&mut self) -> Result<()> {
        self.cri = Cri::connect(Path::new(SOCKET)).await?;
        Ok(())
    }

    /// Runs a sandbox below the slice of a kubelet's, or below the node's own.
    pub(crate) async fn sandbox(&self, name: &str, parent: &str) -> Result<Sandbox> {
        let config = pod::sandbox_config(name, Path::new("/var/log/pods"), parent);
        self.sandbox_of(config).await
    }

    /// Runs a sandbox of this configuration.
    pub(crate) async fn sandbox_of(&self, config: PodSandboxConfig) -> Result<Sandbox> {
        let id = self.cri.run_sandbox(&config).await;
        Ok(Sandbox {
            id: id.context("RunPodSandbox")?,
            config,
        })
    }

    /// Returns the configuration of a container.
    pub(crate) fn container(
        &self,
        name: &str,
        command: &[&str],
        resources: LinuxContainerResources,
    ) -> ContainerConfig {
        let mut config = pod::container_config(name, &self.image, command);
        config.linux.get_or_insert_default().resources = Some(resources);
        config
    }

    /// Describes a container that runs a shell line, with this of its security changed.
    pub(crate) fn confined(
        &self,
        name: &str,
        line: &str,
        change: impl FnOnce(&mut LinuxContainerSecurityContext),
    ) -> ContainerConfig {
        let limits = LinuxContainerResources::default();
        let mut config = self.container(name, &["/bin/sh", "-c", line], limits);
        let linux = config.linux.get_or_insert_default();
        change(linux.security_context.get_or_insert_default());
        config
    }

    /// Creates and starts a container and returns its id.
    pub(crate) async fn run(&self, sandbox: &Sandbox, config: &ContainerConfig) -> Result<String> {
        let created = self
            .cri
            .create_container(&sandbox.id, config, &sandbox.config)
            .await;
        let id = created.context("CreateContainer")?;
        let started = self.cri.start_container(&id).await;
        started.context("StartContainer")?;
        Ok(id)
    }

    /// Runs a shell line in a container and returns what it printed.
    pub(crate) async fn exec(&self, id: &str, line: &str) -> Result<String> {
        let answer = self.cri.exec(id, &["/bin/sh", "-c", line], 60).await?;
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        if answer.exit_code != 0 {
            bail!(
                "`{line}` ended with {}: {text}{}",
                answer.exit_code,
                String::from_utf8_lossy(&answer.stderr)
            );
        }
        Ok(text)
    }

    /// Returns a container's status once it has exited.
    pub(crate) async fn exited(&self, id: &str) -> Result<ContainerStatus> {
        harness::wait::until_async(&format!("container {id} exits"), || async {
            let status = self.cri.container_status(id).await?;
            Ok((status.state() == ContainerState::ContainerExited).then_some(status))
        })
        .await
    }

    /// Returns where a container's log is.
    pub(crate) fn log(&self, sandbox: &Sandbox, config: &ContainerConfig) -> PathBuf {
        PathBuf::from(&sandbox.config.log_directory).join(&config.log_path)
    }

    /// Removes every sandbox, and fails if a unit or a cgroup of theirs is left.
    pub(crate) async fn clear(&mut self) -> Result<()> {
        let request = ListPodSandboxRequest { filter: None };
        let mut runtime = self.cri.runtime.clone();
        let listed = runtime.list_pod_sandbox(request).await?.into_inner().items;
        for sandbox in listed {
            self.cri.stop_sandbox(&sandbox.id).await?;
            self.cri.remove_sandbox(&sandbox.id).await?;
        }
        harness::wait::until("no unit of a container's is left", || {
            let units = sh(
                "systemctl list-units --all --plain --no-legend 'node-agent-*.scope' 'node-agent-*.slice'",
            )?;
            let left: Vec<_> = units
                .lines()
                .filter(|line| !line.starts_with("node-agent-shims.scope"))
                .collect();
            ensure!(left.is_empty(), "left: {left:#?}");
            let cgroups = sh("find /sys/fs/cgroup -type d -name 'node-agent-*'")?;
            let left: Vec<_> = cgroups
                .lines()
                .filter(|line| !line.ends_with("/node-agent-shims.scope"))
                .collect();
            ensure!(left.is_empty(), "left: {left:#?}");
            Ok(Some(()))
        })
    }
}
