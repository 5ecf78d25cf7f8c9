//! A private "host" for each test, its configuration directory, and a plugin that is a script.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use agent_cni::{AttachSpec, Attachment, Capabilities, Cni, Config, Pod};
use agent_sys::netns;
use agent_types::SandboxId;

/// Where Debian keeps the plugins.
pub(crate) const REAL: &str = "/usr/lib/cni";

/// A plugin that writes down what it is told and does what a file beside it says.
const SCRIPT: &str = r#"#!/bin/sh
here=${0%/*}
me=${0##*/}
input=$(cat)
printf '%s %s\n' "$me" "$CNI_COMMAND" >>"$here/calls"
printf '%s' "$input" >"$here/$me.$CNI_COMMAND.input"
env >"$here/$me.$CNI_COMMAND.environment"
if [ -e "$here/$me.$CNI_COMMAND.does" ]; then . "$here/$me.$CNI_COMMAND.does"; fi
case $CNI_COMMAND in
VERSION) echo '{"cniVersion": "1.1.0", "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}' ;;
ADD) echo '{"ips": [{"address": "10.9.0.2/24"}]}' ;;
esac
"#;

/// The host of one test.
pub(crate) struct Host {
    directory: tempfile::TempDir,
}

/// Runs `test` in a network namespace of its own that plays the host.
pub(crate) fn on_host<F: Future<Output = ()>>(test: impl FnOnce(Host) -> F + Send) {
    let host = netns::create().unwrap();
    netns::run_in(host.as_fd(), || {
        run("ip", "link set lo up");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let directory = tempfile::tempdir()?;
        for name in ["net.d", "bin"] {
            fs::create_dir(directory.path().join(name))?;
        }
        runtime.block_on(test(Host { directory }));
        Ok(())
    })
    .unwrap();
}

impl Drop for Host {
    /// A test that failed half way leaves no mounts.
    fn drop(&mut self) {
        for entry in fs::read_dir(self.path("netns"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = netns::unpin(&entry.path());
        }
    }
}

impl Host {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Opens the door as an agent that starts now would.
    pub(crate) fn open(&self) -> Cni {
        self.open_with(Duration::from_secs(30))
    }

    pub(crate) fn open_with(&self, time_limit: Duration) -> Cni {
        Cni::new(Config {
            config_directory: self.path("net.d"),
            plugin_directories: vec![self.path("bin"), REAL.into()],
            netns_directory: self.path("netns"),
            time_limit,
        })
    }

    /// Lays down the configuration.
    pub(crate) fn configure(&self, text: &str) {
        let text = text.replace("$DIR", self.directory.path().to_str().unwrap());
        fs::write(self.path("net.d/10-test.conflist"), text).unwrap();
    }

    /// Lays down a chain of scripted plugins.
    pub(crate) fn configure_scripts(&self, version: &str, plugins: &[&str]) {
        let mut chain = Vec::new();
        for plugin in plugins {
            self.script(plugin);
            chain.push(format!(r#"{{"type": "{plugin}"}}"#));
        }
        let chain = chain.join(",");
        self.configure(&format!(
            r#"{{"cniVersion": "{version}", "name": "scripted", "plugins": [{chain}]}}"#
        ));
    }

    /// Installs a scripted plugin.
    pub(crate) fn script(&self, name: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, SCRIPT).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Says what a scripted plugin does before it answers.
    pub(crate) fn does(&self, plugin: &str, command: &str, what: &str) {
        fs::write(self.path(&format!("bin/{plugin}.{command}.does")), what).unwrap();
    }

    /// Returns what a scripted plugin last wrote down.
    pub(crate) fn wrote(&self, plugin: &str, command: &str, what: &str) -> String {
        fs::read_to_string(self.path(&format!("bin/{plugin}.{command}.{what}"))).unwrap()
    }

    /// Returns which scripted plugins were called for what, and forgets it.
    pub(crate) fn calls(&self) -> Vec<String> {
        let path = self.path("bin/calls");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text.lines().map(str::to_owned).collect()
    }

    /// Joins a new sandbox.
    pub(crate) async fn pod(&self, cni: &Cni, name: &str) -> (OwnedFd, Attachment) {
        self.pod_with(cni, name, Capabilities::default()).await
    }

    pub(crate) async fn pod_with(
        &self,
        cni: &Cni,
        name: &str,
        capabilities: Capabilities,
    ) -> (OwnedFd, Attachment) {
        let mut attachment = cni.plan(spec(name, capabilities)).await.unwrap();
        let netns = netns::create().unwrap();
        cni.attach(&mut attachment, netns.as_fd()).await.unwrap();
        (netns, attachment)
    }

    /// Nothing is pinned any more.
    pub(crate) fn assert_no_pins(&self) {
        let left: Vec<_> = fs::read_dir(self.path("netns")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

pub(crate) fn spec(name: &str, capabilities: Capabilities) -> AttachSpec {
    AttachSpec {
        sandbox: name.parse::<SandboxId>().unwrap(),
        pod: Pod {
            name: format!("pod-{name}"),
            namespace: "default".to_owned(),
            uid: "uid-1".to_owned(),
        },
        capabilities,
    }
}

/// Runs a program in the caller's namespace and returns its output; it must succeed.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program in a namespace.
pub(crate) fn run_in(netns: &OwnedFd, program: &str, arguments: &str) -> String {
    netns::run_in(netns.as_fd(), || Ok(run(program, arguments))).unwrap()
}

/// Says whether a process runs; one that ended and was not waited for does not.
pub(crate) fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z"))
}

/// Waits until something holds; fails after ten seconds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
