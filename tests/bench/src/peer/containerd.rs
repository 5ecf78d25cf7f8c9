//! Debian's containerd on a private root, state directory and socket, with a bridge of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use harness::cgroup;
use harness::command;
use harness::image::{Image, LayerBuilder, pause_program};
use harness::process;
use harness::registry::Registry;
use serde_json::json;
use tempfile::TempDir;

use super::plugins::{self, Bridge};

/// The command line of the pause image.
pub(crate) const PAUSE_COMMAND: &str = "/sandbox-pause";

/// The OCI runtime below containerd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    Runc,
    Crun,
}

impl Runtime {
    fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Runc => "/usr/sbin/runc",
            Self::Crun => "/usr/bin/crun",
        }
    }
}

/// A running containerd. Dropping it takes everything away, orderly or not.
#[derive(Debug)]
pub(crate) struct Containerd {
    runtime: Runtime,
    directory: TempDir,
    socket: PathBuf,
    cgroup_parent: String,
    _bridge: Bridge,
    child: Option<Child>,
}

impl Containerd {
    /// Writes its configuration and starts it.
    pub(crate) fn start(
        runtime: Runtime,
        number: usize,
        cgroup_parent: &str,
        registry: &Registry,
    ) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("bench-containerd-")
            .tempdir()
            .context("make containerd's directory")?;
        let mut layer = LayerBuilder::new();
        layer.file(
            PAUSE_COMMAND.trim_start_matches('/'),
            &pause_program()?,
            0o755,
        )?;
        let image = Image::new(vec![layer.gzip()?], &json!({"Entrypoint": [PAUSE_COMMAND]}));
        let pause_image = registry.push("bench/pause:1", &image)?;
        let mut containerd = Self {
            runtime,
            socket: directory.path().join("containerd.sock"),
            cgroup_parent: cgroup_parent.to_owned(),
            _bridge: Bridge::configure(directory.path(), number)?,
            directory,
            child: None,
        };
        std::fs::write(
            containerd.file("config.toml"),
            containerd.configuration(&pause_image),
        )?;
        containerd.spawn()?;
        Ok(containerd)
    }

    /// Starts the daemon, in a mount namespace of its own.
    pub(crate) fn spawn(&mut self) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.file("log"))
            .context("open containerd's log")?;
        // This crun takes a mounted `unified` for a pure v2 machine.
        let prepare = match self.runtime {
            Runtime::Runc => "",
            Runtime::Crun => {
                "if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi; "
            }
        };
        let script = format!(
            "{prepare}exec containerd --config {}",
            self.file("config.toml").display()
        );
        let child = Command::new("unshare")
            .args(["--mount", "--", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start containerd")?;
        self.child = Some(child);
        Ok(())
    }

    /// Ends the daemon with SIGKILL; its pods go on.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().context("kill containerd")?;
            child.wait().context("wait for containerd")?;
        }
        Ok(())
    }

    /// Returns the daemon's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Returns where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns the shims' process ids. They are no children of the daemon; their command line
    /// names its socket.
    pub(crate) fn shims(&self) -> Result<Vec<u32>> {
        let socket = self.socket.display().to_string();
        let all = process::all()?;
        let ours = all
            .iter()
            .filter(|one| one.name.starts_with("containerd-shim") && one.command.contains(&socket));
        Ok(ours.map(|one| one.pid).collect())
    }

    /// Returns the versions of the packages below it.
    pub(crate) fn packages(&self) -> Vec<String> {
        let names = [
            "containerd",
            self.runtime.name(),
            "containernetworking-plugins",
        ];
        let mut query = Command::new("dpkg-query");
        query
            .args(["--show", "--showformat", "${Package} ${Version}\n"])
            .args(names);
        command::run(&mut query)
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Stops it and removes what it made.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.kill()?;
        process::end_all("containerd's shims and runtimes are gone", || {
            self.helpers()
        })?;
        cgroup::clear(&self.cgroup_parent)
    }

    /// Returns the shims' process ids, and those of the runtimes they have called: cut short, such
    /// a call could make cgroups after they were cleared away.
    fn helpers(&self) -> Result<Vec<u32>> {
        let directory = self.directory.path().display().to_string();
        let all = process::all()?;
        let ours = all.iter().filter(|one| {
            (one.name.starts_with("containerd-shim") || one.name == self.runtime.name())
                && one.command.contains(&directory)
        });
        Ok(ours.map(|one| one.pid).collect())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn configuration(&self, pause_image: &str) -> String {
        let (base, runtime) = (self.directory.path().display(), self.runtime.name());
        let (socket, program) = (self.socket.display(), self.runtime.program());
        let plugins = plugins::DIRECTORY;
        format!(
            r#"version = 2
root = "{base}/root"
state = "{base}/state"
[debug]
  level = "warn"
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{base}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{base}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "{runtime}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{runtime}]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{runtime}.options]
        BinaryName = "{program}"
        Root = "{base}/{runtime}"
"#
        )
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("warning: containerd left something behind: {error:?}");
        }
    }
}
