//! A private host with an agent whose pods plugins join.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use harness::agent::Options;
use harness::command;
use harness::node::Node;
use nix::sched::{CloneFlags, unshare};
use proto::cri::{RuntimeCondition, StatusRequest};
use serde_json::Value;
use tempfile::TempDir;

/// Where Debian keeps the plugins.
const REAL: &str = "/usr/lib/cni";

/// Both families, published ports.
pub(crate) const DUAL: &str = r#"{
  "cniVersion": "1.0.0", "name": "dual",
  "plugins": [
    {"type": "bridge", "bridge": "cnitest0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
     "ipam": {"type": "host-local", "dataDir": "$DIR/ipam",
              "ranges": [[{"subnet": "10.88.7.0/24"}], [{"subnet": "fd88:7::/64"}]],
              "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
  ]}"#;

/// A plugin that writes down what it is told and does what a file beside it says.
const SCRIPT: &str = r#"#!/bin/sh
here=${0%/*}
me=${0##*/}
input=$(cat)
printf '%s' "$input" >"$here/$CNI_COMMAND.input"
env >"$here/$CNI_COMMAND.environment"
printf '%s %s\n' "$CNI_COMMAND" "$CNI_CONTAINERID" >>"$here/calls"
if [ -e "$here/$CNI_COMMAND.does" ]; then . "$here/$CNI_COMMAND.does"; fi
case $CNI_COMMAND in
VERSION) echo '{"cniVersion": "1.1.0", "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}' ;;
ADD) echo '{"ips": [{"address": "10.9.0.2/24"}], "dns": {"nameservers": ["10.9.0.53"], "search": ["of.plugin"]}}' ;;
esac
"#;

/// The directories that plugins have to do with.
pub(crate) struct Host {
    directory: TempDir,
    /// How many of the script's calls the test has seen.
    seen: Cell<usize>,
}

/// Runs a test in a network namespace of its own that plays the host.
pub(crate) fn on_host<F: Future<Output = Result<()>>>(
    test: impl FnOnce(Host) -> F + Send,
) -> Result<()> {
    let work = move || -> Result<()> {
        unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
        command::run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        let directory = tempfile::Builder::new().prefix("cni-").tempdir()?;
        for name in ["net.d", "bin"] {
            fs::create_dir(directory.path().join(name))?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(test(Host {
            directory,
            seen: Cell::new(0),
        }))
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(work);
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Host {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the options of an agent that joins pods so: `auto`, `cni` or `built-in`.
    pub(crate) fn options(&self, cri: &str) -> Options {
        Options::default()
            .with("network", format!("cri = \"{cri}\""))
            .with(
                "cni",
                format!("config_directory = {:?}", self.path("net.d")),
            )
            .with(
                "cni",
                format!("plugin_directories = [{:?}, {REAL:?}]", self.path("bin")),
            )
            .with("cni", "time_limit_seconds = 5")
    }

    /// Starts a node that joins pods by plugins alone.
    pub(crate) async fn node(&self) -> Result<Node> {
        Node::start_with(self.options("cni")).await
    }

    /// Lays down the configuration.
    pub(crate) fn configure(&self, text: &str) -> Result<()> {
        let directory = self.directory.path().display().to_string();
        Ok(fs::write(
            self.path("net.d/10-test.conflist"),
            text.replace("$DIR", &directory),
        )?)
    }

    /// Takes the configuration away.
    pub(crate) fn unconfigure(&self) -> Result<()> {
        Ok(fs::remove_file(self.path("net.d/10-test.conflist"))?)
    }

    /// Installs the script and a configuration of it alone, in this version.
    pub(crate) fn script(&self, version: &str) -> Result<()> {
        let path = self.path("bin/script");
        fs::write(&path, SCRIPT)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        self.configure(&format!(
            r#"{{"cniVersion": "{version}", "name": "scripted", "plugins": [
                {{"type": "script", "capabilities": {{"portMappings": true, "bandwidth": true, "dns": true, "ipRanges": true, "cgroupPath": true}}}}]}}"#
        ))
    }

    /// Says what the script does before it answers.
    pub(crate) fn does(&self, command: &str, what: &str) -> Result<()> {
        Ok(fs::write(self.path(&format!("bin/{command}.does")), what)?)
    }

    /// Returns what the script read last.
    pub(crate) fn input(&self, command: &str) -> Result<Value> {
        Ok(serde_json::from_str(
            &self.wrote(&format!("{command}.input"))?,
        )?)
    }

    /// Returns what the script wrote down.
    pub(crate) fn wrote(&self, name: &str) -> Result<String> {
        let path = self.path("bin").join(name);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Returns what the script was called for since the last time.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("bin/calls")).unwrap_or_default();
        let calls: Vec<_> = text.lines().map(str::to_owned).collect();
        let before = self.seen.replace(calls.len());
        calls.into_iter().skip(before).collect()
    }

    /// Returns how many addresses host-local has given away.
    pub(crate) fn reserved(&self) -> usize {
        let entries = fs::read_dir(self.path("ipam/dual")).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names
            .filter(|name| name.starts_with("10.") || name.starts_with("fd"))
            .count()
    }

    /// Ends the node in order; nothing that plugins made may be left.
    pub(crate) async fn finish(&self, node: Node) -> Result<()> {
        let pins = node.agent.state().join("netns");
        node.remove_all().await?;
        ensure!(self.reserved() == 0, "addresses are still given away");
        ensure!(pinned(&pins) == 0, "namespaces are still pinned");
        node.finish().await
    }
}

/// Returns how many network namespaces are pinned.
pub(crate) fn pinned(directory: &Path) -> usize {
    fs::read_dir(directory).into_iter().flatten().count()
}

/// Returns what the node says of its network.
pub(crate) async fn network_condition(node: &Node) -> Result<RuntimeCondition> {
    let answer = node
        .cri
        .runtime
        .clone()
        .status(StatusRequest::default())
        .await?;
    let conditions = answer.into_inner().status.unwrap_or_default().conditions;
    let network = conditions
        .into_iter()
        .find(|one| one.r#type == "NetworkReady");
    network.context("there is a NetworkReady")
}
