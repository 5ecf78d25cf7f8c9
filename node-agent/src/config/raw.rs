//! The file as it is written. Unknown keys are refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// The file with every default, as `node-agent config default` prints it.
pub(super) const DEFAULT: &str = include_str!("../../../deploy/config.toml");

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) root: PathBuf,
    pub(super) state: PathBuf,
    /// Absent: one socket in the state directory.
    pub(super) listen: Option<Vec<String>>,
    pub(super) socket_group: String,
    pub(super) shim: PathBuf,
    pub(super) boot_id_file: PathBuf,
    pub(super) log: Log,
    pub(super) cgroup: Cgroup,
    pub(super) network: Network,
    pub(super) cni: Cni,
    pub(super) images: Images,
    pub(super) containers: Containers,
    pub(super) streaming: Streaming,
    pub(super) stats: Stats,
    pub(super) metrics: Metrics,
    pub(super) traces: Traces,
    /// Runtime handlers by name; none by default.
    pub(super) runtimes: BTreeMap<String, Runtime>,
}

#[derive(Debug, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Runtime {
    /// Empty: the runtime built in.
    pub(super) path: PathBuf,
    pub(super) pod_annotations: Vec<String>,
    pub(super) container_annotations: Vec<String>,
    /// Empty: this machine's.
    pub(super) platform: String,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            root: "/var/lib/node-agent".into(),
            state: "/run/node-agent".into(),
            listen: None,
            socket_group: String::new(),
            shim: PathBuf::new(),
            boot_id_file: "/proc/sys/kernel/random/boot_id".into(),
            log: Log::default(),
            cgroup: Cgroup::default(),
            network: Network::default(),
            cni: Cni::default(),
            images: Images::default(),
            containers: Containers::default(),
            streaming: Streaming::default(),
            stats: Stats::default(),
            metrics: Metrics::default(),
            traces: Traces::default(),
            runtimes: BTreeMap::new(),
        }
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: String,
    pub(super) format: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: "text".to_owned(),
        }
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cgroup {
    pub(super) parent: String,
    pub(super) driver: String,
    pub(super) scope_prefix: String,
}

impl Default for Cgroup {
    fn default() -> Self {
        Self {
            parent: "/node-agent".to_owned(),
            driver: "cgroupfs".to_owned(),
            scope_prefix: "node-agent".to_owned(),
        }
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Network {
    pub(super) cri: String,
    pub(super) bridge: String,
    pub(super) table: String,
    pub(super) subnets: Vec<String>,
    pub(super) mtu: u32,
    pub(super) port_range: [u16; 2],
}

impl Default for Network {
    fn default() -> Self {
        Self {
            cri: "auto".to_owned(),
            bridge: "nodeagent0".to_owned(),
            table: "node_agent".to_owned(),
            subnets: vec![
                "10.199.0.0/16".to_owned(),
                "fd6e:6f64:6561:1::/64".to_owned(),
            ],
            mtu: 0,
            port_range: [32_768, 60_999],
        }
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cni {
    pub(super) config_directory: PathBuf,
    pub(super) plugin_directories: Vec<PathBuf>,
    pub(super) time_limit_seconds: u64,
}

impl Default for Cni {
    fn default() -> Self {
        Self {
            config_directory: "/etc/cni/net.d".into(),
            plugin_directories: vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()],
            time_limit_seconds: 60,
        }
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Images {
    pub(super) registries_directory: PathBuf,
    pub(super) credential_files: Vec<PathBuf>,
    pub(super) insecure_registries: Vec<String>,
    pub(super) pinned: Vec<String>,
    pub(super) pull_progress_timeout_seconds: u64,
    pub(super) concurrent_downloads: usize,
    pub(super) max_layer_bytes: u64,
}

impl Default for Images {
    fn default() -> Self {
        Self {
            registries_directory: "/etc/node-agent/registries.d".into(),
            credential_files: vec!["/root/.docker/config.json".into()],
            insecure_registries: Vec::new(),
            pinned: Vec::new(),
            pull_progress_timeout_seconds: 300,
            concurrent_downloads: 3,
            max_layer_bytes: 64 << 30,
        }
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Containers {
    pub(super) stop_timeout_seconds: u64,
    pub(super) log_max_bytes: u64,
    pub(super) log_max_files: u32,
    pub(super) shm_bytes: u64,
    pub(super) cdi_directories: Vec<PathBuf>,
}

impl Default for Containers {
    fn default() -> Self {
        Self {
            stop_timeout_seconds: 10,
            log_max_bytes: 10 << 20,
            log_max_files: 3,
            shm_bytes: 64 << 20,
            cdi_directories: vec!["/etc/cdi".into(), "/var/run/cdi".into()],
        }
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Streaming {
    pub(super) listen: String,
    pub(super) idle_timeout_seconds: u64,
    pub(super) stream_timeout_seconds: u64,
    pub(super) max_clients: usize,
}

impl Default for Streaming {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            idle_timeout_seconds: 4 * 3600,
            stream_timeout_seconds: 30,
            max_clients: 1000,
        }
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Stats {
    pub(super) period_seconds: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Self { period_seconds: 2 }
    }
}

#[derive(Debug, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub(super) listen: String,
    pub(super) tls_certificate: PathBuf,
    pub(super) tls_key: PathBuf,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Traces {
    pub(super) endpoint: String,
    pub(super) sample_ratio: f64,
    pub(super) timeout_seconds: u64,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            sample_ratio: 1.0,
            timeout_seconds: 10,
        }
    }
}
