//! The configuration: a TOML file, the command line over it, checked as a whole.

mod parts;
mod raw;
mod traces;

use std::fmt;
use std::path::{Path, PathBuf};

use agent_core::image::ImagesConfig;
use agent_core::services::Settings;
use agent_telemetry::metrics::EndpointConfig;
use anyhow::Context;

use crate::cli::Cli;
use parts::{
    cgroup, cni, containers, cri_network, handlers, images, log, metrics, network, registry,
    settings, stats, streaming,
};
use raw::RawConfig;

/// Everything the node was told to be.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: Settings,
    pub(crate) listen: Vec<PathBuf>,
    pub(crate) socket_group: Option<String>,
    pub(crate) shim: Option<PathBuf>,
    pub(crate) boot_id_file: PathBuf,
    pub(crate) log: agent_telemetry::Config,
    pub(crate) cgroup: agent_cgroup::Config,
    pub(crate) network: agent_network::Config,
    pub(crate) cni: agent_cni::Config,
    pub(crate) registry: agent_registry::Config,
    pub(crate) images: ImagesConfig,
    pub(crate) streaming: agent_streaming::Config,
    /// Absent: metrics are not served.
    pub(crate) metrics: Option<EndpointConfig>,
}

/// Everything that is wrong with a configuration.
#[derive(Debug)]
struct Problems(Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("configuration is not valid")?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Returns every default, as the file would have it.
pub(crate) fn default_text() -> String {
    raw::DEFAULT.to_owned()
}

/// Reads the file named on the command line, and the rest of the command line over it.
pub(crate) fn load(cli: &Cli) -> anyhow::Result<Config> {
    let mut raw = match &cli.config {
        Some(path) => read(path)?,
        None => RawConfig::default(),
    };
    if let Some(root) = &cli.root {
        raw.root.clone_from(root);
    }
    if let Some(state) = &cli.state {
        raw.state.clone_from(state);
    }
    if !cli.listen.is_empty() {
        raw.listen = Some(cli.listen.clone());
    }
    if let Ok(filter) = std::env::var("NODE_AGENT_LOG") {
        raw.log.level = filter;
    }
    check(raw)
}

fn read(path: &Path) -> anyhow::Result<RawConfig> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("configuration {} could not be read", path.display()))?;
    toml::from_str(&text).with_context(|| format!("configuration {} is not valid", path.display()))
}

fn check(raw: RawConfig) -> anyhow::Result<Config> {
    let mut problems = Vec::new();
    for (name, path) in [("root", &raw.root), ("state", &raw.state)] {
        if !path.is_absolute() {
            problems.push(format!(
                "{name}: {} is not an absolute path",
                path.display()
            ));
        }
    }
    let listen = listen(&listen_urls(&raw), &mut problems);
    let cgroup = cgroup(&raw.cgroup, &mut problems);
    let network = network(&raw.network, &mut problems);
    let cri_network = cri_network(&raw.network, &mut problems);
    let cni = cni(&raw, &mut problems);
    let handlers = handlers(&raw, &mut problems);
    let registry = registry(&raw.images, &mut problems);
    let log = agent_telemetry::Config {
        traces: traces::traces(&raw.traces, |name| std::env::var(name).ok(), &mut problems),
        ..log(&raw.log, &mut problems)
    };
    let streaming = streaming(&raw.streaming, &mut problems);
    containers(&raw.containers, &mut problems);
    let metrics = metrics(&raw.metrics, &mut problems);
    stats(&raw.stats, &mut problems);
    match cgroup {
        Some(cgroup) if problems.is_empty() => Ok(Config {
            settings: settings(&raw, cri_network, handlers),
            listen,
            socket_group: Some(raw.socket_group).filter(|group| !group.is_empty()),
            shim: Some(raw.shim).filter(|path| !path.as_os_str().is_empty()),
            boot_id_file: raw.boot_id_file,
            log,
            cgroup,
            network,
            cni,
            registry,
            streaming,
            metrics,
            images: images(&raw.images),
        }),
        _ => Err(Problems(problems).into()),
    }
}

/// Takes a value, or notes what is wrong with it.
fn keep<T, E: std::error::Error>(
    name: &str,
    result: Result<T, E>,
    problems: &mut Vec<String>,
) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            problems.push(format!("{name}: {error}"));
            None
        }
    }
}

/// Returns where to serve: where the configuration says, else in the state directory.
fn listen_urls(raw: &RawConfig) -> Vec<String> {
    let default = || vec![format!("unix://{}/node-agent.sock", raw.state.display())];
    raw.listen.clone().unwrap_or_else(default)
}

fn listen(urls: &[String], problems: &mut Vec<String>) -> Vec<PathBuf> {
    if urls.is_empty() {
        problems.push("listen: at least one address is needed".to_owned());
    }
    let mut paths = Vec::new();
    for url in urls {
        match url.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => paths.push(PathBuf::from(path)),
            _ => problems.push(format!(
                "listen: {url:?} is not unix:// and an absolute path"
            )),
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<Config, String> {
        let raw = toml::from_str(text).map_err(|error| error.to_string())?;
        check(raw).map_err(|error| error.to_string())
    }

    #[test]
    fn the_printed_defaults_are_the_defaults() {
        let printed: RawConfig = toml::from_str(&default_text()).unwrap();
        let mut default = RawConfig::default();
        default.listen = Some(listen_urls(&default));
        assert_eq!(printed, default);
        assert!(check(printed).is_ok());
    }

    #[test]
    fn the_systemd_driver_wants_a_slice() {
        let cgroup = load_text("[cgroup]\ndriver = \"systemd\"\nparent = \"a-b.slice\"");
        let cgroup = cgroup.unwrap().cgroup;
        assert_eq!(cgroup.parent.as_str(), "/a.slice/a-b.slice");
        let refused = load_text("[cgroup]\ndriver = \"systemd\"").unwrap_err();
        assert!(refused.contains("cgroup.parent"), "{refused}");
        let refused = load_text("[cgroup]\ndriver = \"other\"\nscope_prefix = \"a/b\"");
        let refused = refused.unwrap_err();
        assert!(
            refused.contains("cgroup.driver") && refused.contains("cgroup.scope_prefix"),
            "{refused}"
        );
    }

    #[test]
    fn samples_are_at_most_an_hour_apart() {
        for (seconds, holds) in [(0, false), (1, true), (3_600, true), (3_601, false)] {
            let loaded = load_text(&format!("[stats]\nperiod_seconds = {seconds}"));
            assert_eq!(loaded.is_ok(), holds, "{seconds}");
        }
    }

    #[test]
    fn the_socket_is_in_the_state_directory_unless_it_is_said_to_be_elsewhere() {
        let paths = |text: &str| check(toml::from_str(text).unwrap()).unwrap().listen;
        let moved = paths("state = \"/run/other\"");
        assert_eq!(moved, [PathBuf::from("/run/other/node-agent.sock")]);
        let said = paths("state = \"/run/other\"\nlisten = [\"unix:///a\", \"unix:///b\"]");
        assert_eq!(said, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert!(load_text("listen = []").is_err());
    }

    #[test]
    fn the_file_in_deploy_is_what_is_printed() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/config.toml");
        assert_eq!(std::fs::read_to_string(path).unwrap(), default_text());
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = load_text("rot = \"/x\"").unwrap_err();
        assert!(error.contains("rot"), "{error}");
    }

    #[test]
    fn all_problems_are_told_together() {
        let error = load_text(
            "root = \"x\"\nlisten = [\"tcp://1\"]\n[network]\nbridge = \"a name that is too long\"\n",
        )
        .unwrap_err();
        for word in ["root", "listen", "network"] {
            assert!(error.contains(word), "{error}");
        }
    }
}
