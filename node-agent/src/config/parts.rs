//! The parts of the file, each as the crate that it is for wants it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use agent_cgroup::{CgroupPath, Driver};
use agent_core::handler::{RuntimeHandler, RuntimeHandlers};
use agent_core::image::{ImagesConfig, pinned_name};
use agent_core::pattern::Pattern;
use agent_core::services::{CriNetwork, Paths, Settings};
use agent_telemetry::metrics::{EndpointConfig, TlsFiles};

use super::keep;
use super::raw::{self, RawConfig};

pub(super) fn network(raw: &raw::Network, problems: &mut Vec<String>) -> agent_network::Config {
    let mut config = agent_network::Config {
        bridge: raw.bridge.clone(),
        table: raw.table.clone(),
        ipv4_subnet: None,
        ipv6_subnet: None,
        mtu: (raw.mtu > 0).then_some(raw.mtu),
        first_port: raw.port_range[0],
        last_port: raw.port_range[1],
        ..agent_network::Config::default()
    };
    for text in &raw.subnets {
        if let (None, Ok(subnet)) = (config.ipv4_subnet, text.parse()) {
            config.ipv4_subnet = Some(subnet);
        } else if let (None, Ok(subnet)) = (config.ipv6_subnet, text.parse()) {
            config.ipv6_subnet = Some(subnet);
        } else {
            problems.push(format!(
                "network.subnets: {text:?} is no subnet, or the second of its family"
            ));
        }
    }
    if let Err(found) = config.check() {
        problems.extend(found.0.iter().map(|problem| format!("network: {problem}")));
    }
    config
}

/// Returns who makes cgroups, and where.
pub(super) fn cgroup(
    raw: &raw::Cgroup,
    problems: &mut Vec<String>,
) -> Option<agent_cgroup::Config> {
    let prefix = &raw.scope_prefix;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(plain) {
        problems.push(format!(
            "cgroup.scope_prefix: {prefix:?} is not 1 to 64 letters, digits, '-', '_' or '.'"
        ));
    }
    let (parent, driver) = match raw.driver.as_str() {
        "cgroupfs" => (raw.parent.parse(), Driver::Cgroupfs),
        "systemd" => {
            let driver = Driver::Systemd {
                prefix: prefix.clone(),
            };
            (CgroupPath::of_slice(&raw.parent), driver)
        }
        other => {
            problems.push(format!(
                "cgroup.driver: {other:?} is neither cgroupfs nor systemd"
            ));
            return None;
        }
    };
    let parent = keep("cgroup.parent", parent, problems)?;
    Some(agent_cgroup::Config {
        driver,
        ..agent_cgroup::Config::with_parent(parent)
    })
}

/// Returns who joins a kubelet's pods to the network.
pub(super) fn cri_network(raw: &raw::Network, problems: &mut Vec<String>) -> CriNetwork {
    match raw.cri.as_str() {
        "auto" => CriNetwork::Auto,
        "cni" => CriNetwork::Cni,
        "built-in" => CriNetwork::BuiltIn,
        other => {
            problems.push(format!(
                "network.cri: {other:?} is none of auto, cni and built-in"
            ));
            CriNetwork::Auto
        }
    }
}

pub(super) fn cni(raw: &RawConfig, problems: &mut Vec<String>) -> agent_cni::Config {
    let cni = &raw.cni;
    let named = [("cni.config_directory", &cni.config_directory)];
    let plugins = cni.plugin_directories.iter();
    for (name, path) in named
        .into_iter()
        .chain(plugins.map(|path| ("cni.plugin_directories", path)))
    {
        // Plugins are handed these as one text with colons in it.
        if !path.is_absolute() || path.as_os_str().as_encoded_bytes().contains(&b':') {
            problems.push(format!(
                "{name}: {} is not an absolute path without a colon",
                path.display()
            ));
        }
    }
    if cni.plugin_directories.is_empty() {
        problems.push("cni.plugin_directories: at least one is needed".to_owned());
    }
    if cni.time_limit_seconds == 0 {
        problems.push("cni.time_limit_seconds: must be at least 1".to_owned());
    }
    agent_cni::Config {
        config_directory: cni.config_directory.clone(),
        plugin_directories: cni.plugin_directories.clone(),
        netns_directory: raw.state.join("netns"),
        time_limit: Duration::from_secs(cni.time_limit_seconds),
    }
}

pub(super) fn images(raw: &raw::Images) -> ImagesConfig {
    ImagesConfig {
        layers_at_once: raw.concurrent_downloads,
        layer_bytes: raw.max_layer_bytes,
        unpack: agent_snapshot::Limits {
            bytes: raw.max_layer_bytes,
            ..agent_snapshot::Limits::default()
        },
        pinned: raw.pinned.iter().map(|text| pinned_name(text)).collect(),
        ..ImagesConfig::default()
    }
}

pub(super) fn containers(raw: &raw::Containers, problems: &mut Vec<String>) {
    for path in raw
        .cdi_directories
        .iter()
        .filter(|path| !path.is_absolute())
    {
        problems.push(format!(
            "containers.cdi_directories: {} is not an absolute path",
            path.display()
        ));
    }
}

/// Returns where the programs of this machine are.
fn programs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path);
    directories.filter(|path| path.is_absolute()).collect()
}

pub(super) fn registry(raw: &raw::Images, problems: &mut Vec<String>) -> agent_registry::Config {
    let mut config = agent_registry::Config {
        proxies: agent_registry::Proxies::from_variables(|name| std::env::var(name).ok()),
        hosts_directory: Some(raw.registries_directory.clone())
            .filter(|path| !path.as_os_str().is_empty()),
        credential_files: raw.credential_files.clone(),
        helper_directories: programs(),
        ..agent_registry::Config::default()
    };
    for (name, path) in std::iter::once(("registries_directory", &raw.registries_directory))
        .filter(|(_, path)| !path.as_os_str().is_empty())
        .chain(
            raw.credential_files
                .iter()
                .map(|path| ("credential_files", path)),
        )
    {
        if !path.is_absolute() {
            problems.push(format!(
                "images.{name}: {} is not an absolute path",
                path.display()
            ));
        }
    }
    if raw.concurrent_downloads == 0 {
        problems.push("images.concurrent_downloads: must be at least 1".to_owned());
    }
    config.timeouts.progress = Duration::from_secs(raw.pull_progress_timeout_seconds);
    if raw.pull_progress_timeout_seconds == 0 {
        problems.push("images.pull_progress_timeout_seconds: must be at least 1".to_owned());
    }
    for text in &raw.insecure_registries {
        let parsed = keep("images.insecure_registries", text.parse(), problems);
        config.plain_http.extend(parsed);
    }
    config
}

pub(super) fn log(raw: &raw::Log, problems: &mut Vec<String>) -> agent_telemetry::Config {
    let format = match raw.format.as_str() {
        "json" => agent_telemetry::Format::Json,
        "text" => agent_telemetry::Format::Text,
        other => {
            problems.push(format!("log.format: {other:?} is neither text nor json"));
            agent_telemetry::Format::Text
        }
    };
    agent_telemetry::Config {
        filter: raw.level.clone(),
        format,
        traces: None,
    }
}

pub(super) fn stats(raw: &raw::Stats, problems: &mut Vec<String>) {
    if !(1..=3_600).contains(&raw.period_seconds) {
        problems.push("stats.period_seconds: must be 1 to 3600".to_owned());
    }
}

pub(super) fn handlers(raw: &RawConfig, problems: &mut Vec<String>) -> RuntimeHandlers {
    let mut handlers = BTreeMap::new();
    for (name, runtime) in &raw.runtimes {
        let program = Some(&runtime.path).filter(|path| !path.as_os_str().is_empty());
        if program.is_some_and(|path| !path.is_absolute()) {
            problems.push(format!(
                "runtimes.{name}.path: {} is not an absolute path",
                runtime.path.display()
            ));
        }
        let platform = match runtime.platform.as_str() {
            "" => None,
            text => keep(&format!("runtimes.{name}.platform"), text.parse(), problems),
        };
        let patterns = |texts: &[String]| texts.iter().map(Pattern::new).collect();
        let handler = RuntimeHandler {
            program: program.cloned(),
            pod_annotations: patterns(&runtime.pod_annotations),
            container_annotations: patterns(&runtime.container_annotations),
            platform,
        };
        handlers.insert(name.clone(), handler);
    }
    RuntimeHandlers::new(handlers)
}

pub(super) fn settings(
    raw: &RawConfig,
    cri_network: CriNetwork,
    handlers: RuntimeHandlers,
) -> Settings {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Settings {
        paths: Paths {
            root: raw.root.clone(),
            state: raw.state.clone(),
        },
        stop_timeout: Duration::from_secs(raw.containers.stop_timeout_seconds),
        log_max_bytes: raw.containers.log_max_bytes,
        log_max_files: raw.containers.log_max_files,
        shm_bytes: raw.containers.shm_bytes,
        starts_at_once: cores + 1,
        cri_network,
        cdi: agent_cdi::Cdi::new(raw.containers.cdi_directories.clone()),
        stats: agent_core::stats::Config {
            period: Duration::from_secs(raw.stats.period_seconds),
        },
        handlers,
    }
}

pub(super) fn streaming(
    raw: &raw::Streaming,
    problems: &mut Vec<String>,
) -> agent_streaming::Config {
    let seconds = |name: &str, seconds: u64, problems: &mut Vec<String>| {
        if seconds == 0 {
            problems.push(format!("streaming.{name}: must be at least 1"));
        }
        Duration::from_secs(seconds)
    };
    let mut config = agent_streaming::Config {
        idle_timeout: seconds("idle_timeout_seconds", raw.idle_timeout_seconds, problems),
        stream_timeout: seconds(
            "stream_timeout_seconds",
            raw.stream_timeout_seconds,
            problems,
        ),
        max_clients: raw.max_clients,
        ..agent_streaming::Config::default()
    };
    if raw.max_clients == 0 {
        problems.push("streaming.max_clients: must be at least 1".to_owned());
    }
    if let Some(listen) = keep("streaming.listen", raw.listen.parse(), problems) {
        config.listen = listen;
    }
    config
}

/// Returns where metrics are served; `None` where they are not.
pub(super) fn metrics(raw: &raw::Metrics, problems: &mut Vec<String>) -> Option<EndpointConfig> {
    let (certificate, key) = (&raw.tls_certificate, &raw.tls_key);
    let has = |path: &std::path::Path| !path.as_os_str().is_empty();
    if has(certificate) != has(key) {
        let both = "metrics: tls_certificate and tls_key must be set together";
        problems.push(both.to_owned());
    }
    if raw.listen.is_empty() {
        if has(certificate) {
            problems.push("metrics: a certificate is of no use without listen".to_owned());
        }
        return None;
    }
    let listen = keep("metrics.listen", raw.listen.parse(), problems)?;
    let tls = has(certificate).then(|| TlsFiles {
        certificate: certificate.clone(),
        key: key.clone(),
    });
    Some(EndpointConfig { listen, tls })
}
