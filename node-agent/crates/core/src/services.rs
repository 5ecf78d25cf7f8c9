//! The mechanisms one floor down, opened once and shared by every verb.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_apparmor::Apparmor;
use agent_cgroup::CgroupTree;
use agent_cni::Cni;
use agent_network::Network;
use agent_selinux::Selinux;
use agent_shim_client::Launcher;
use agent_snapshot::Snapshots;
use agent_store::Store;
use agent_types::SandboxId;
use ipnet::IpNet;
use tokio::sync::{RwLock, Semaphore};

use crate::event::EventBus;
use crate::features::OtherFeatures;
use crate::handler::RuntimeHandlers;
use crate::image::Images;
use crate::metrics::Phases;
use crate::sandbox::ahead::Ahead;
use crate::stats::Sampler;

/// Where the node keeps things.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Outlives a reboot.
    pub root: PathBuf,
    /// Does not need to.
    pub state: PathBuf,
}

impl Paths {
    /// Returns the directory of a sandbox's run-time files: socket, exits, hosts, resolv.conf.
    #[must_use]
    pub fn sandbox(&self, id: &SandboxId) -> PathBuf {
        self.sandboxes().join(id.as_str())
    }

    /// Returns the directory of all sandboxes' run-time files.
    #[must_use]
    pub fn sandboxes(&self) -> PathBuf {
        self.state.join("sandboxes")
    }

    /// Returns the directory of a sandbox's logs, where the caller named none.
    #[must_use]
    pub fn logs(&self, id: &SandboxId) -> PathBuf {
        self.root.join("logs").join(id.as_str())
    }
}

/// Who joins a kubelet's pods to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CriNetwork {
    /// Plugins where a configuration lies in their directory, else the built-in network.
    #[default]
    Auto,
    /// Plugins; without a configuration no pod is made.
    Cni,
    /// The built-in network, whatever lies in the directory.
    BuiltIn,
}

/// What the node was told to be; checked by the binary that reads the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directories.
    pub paths: Paths,
    /// How long a stop waits before SIGKILL, where nobody says.
    pub stop_timeout: Duration,
    /// Size at which a person's container's log is rotated, in bytes.
    pub log_max_bytes: u64,
    /// Rotated log files to keep.
    pub log_max_files: u32,
    /// Bytes of /dev/shm, where nobody says.
    pub shm_bytes: u64,
    /// Starts under way at once; more wait their turn without holding anything.
    pub starts_at_once: usize,
    /// Who joins a kubelet's pods to the network.
    pub cri_network: CriNetwork,
    /// Where device vendors describe what containers get for their devices.
    pub cdi: agent_cdi::Cdi,
    /// How it is sampled what everything uses.
    pub stats: crate::stats::Config,
    /// Who makes containers, by the name that a sandbox gives.
    pub handlers: RuntimeHandlers,
}

/// Everything the verbs work with.
#[derive(Debug)]
pub struct Services {
    /// What the node was told to be.
    pub settings: Settings,
    /// Records.
    pub store: Arc<Store>,
    /// Images.
    pub images: Images,
    /// Layers and writable layers.
    pub snapshots: Snapshots,
    /// The built-in network.
    pub network: Network,
    /// Networks that plugins make.
    pub cni: Cni,
    /// Cgroups.
    pub cgroups: CgroupTree,
    /// Compiled seccomp filters.
    pub seccomp: agent_seccomp::Cache,
    /// AppArmor on this machine.
    pub apparmor: Arc<Apparmor>,
    /// SELinux on this machine.
    pub selinux: Selinux,
    /// Held from the choice of a sandbox's level until others can see it.
    pub(crate) labelling: Mutex<()>,
    /// Starts shims.
    pub launcher: Launcher,
    /// Tells what happens.
    pub events: EventBus,
    /// What everything uses.
    pub(crate) sampler: Sampler,
    /// How long the parts of operations take.
    pub(crate) phases: Phases,
    /// Highest capability number of the running kernel.
    pub last_capability: u8,
    /// What this machine has to hide beside the default masked paths.
    pub masked_paths: Vec<String>,
    /// Told when there is something to sweep.
    pub(crate) litter: tokio::sync::Notify,
    /// The network of the next sandbox.
    pub(crate) ahead: Ahead,
    /// Admits starts: cores and one more give all the throughput at a third of the latency.
    pub(crate) starts: Semaphore,
    /// Held for reading while plugins join a sandbox, from its ledger on; for writing while they
    /// are told which sandboxes there are.
    pub(crate) joining: RwLock<()>,
    /// What plugins are to give pods addresses from.
    pod_ranges: Mutex<Vec<IpNet>>,
    /// What other runtimes can do.
    features: OtherFeatures,
}

/// The mechanisms, opened one by one by whoever assembles the node.
#[derive(Debug)]
pub struct Parts {
    /// Records.
    pub store: Arc<Store>,
    /// Images.
    pub images: Images,
    /// Layers and writable layers.
    pub snapshots: Snapshots,
    /// The built-in network.
    pub network: Network,
    /// Networks that plugins make.
    pub cni: Cni,
    /// Cgroups.
    pub cgroups: CgroupTree,
    /// Compiled seccomp filters.
    pub seccomp: agent_seccomp::Cache,
    /// AppArmor on this machine.
    pub apparmor: Arc<Apparmor>,
    /// SELinux on this machine.
    pub selinux: Selinux,
    /// Starts shims.
    pub launcher: Launcher,
    /// Highest capability number of the running kernel.
    pub last_capability: u8,
    /// What this machine has to hide beside the default masked paths.
    pub masked_paths: Vec<String>,
    /// How long the parts of operations take.
    pub phases: Phases,
}

impl Services {
    /// Assembles the mechanisms.
    #[must_use]
    pub fn new(settings: Settings, parts: Parts) -> Self {
        // A hint: without it sandboxes only start a little slower.
        if let Ok(sandboxes) = std::fs::File::open(settings.paths.sandboxes()) {
            agent_sys::spread::subdirectories(sandboxes.as_fd());
        }
        let starts = Semaphore::new(settings.starts_at_once.max(1));
        Self {
            sampler: Sampler::new(settings.stats),
            phases: parts.phases,
            settings,
            store: parts.store,
            images: parts.images,
            snapshots: parts.snapshots,
            network: parts.network,
            cni: parts.cni,
            cgroups: parts.cgroups,
            seccomp: parts.seccomp,
            apparmor: parts.apparmor,
            selinux: parts.selinux,
            labelling: Mutex::default(),
            launcher: parts.launcher,
            events: EventBus::default(),
            last_capability: parts.last_capability,
            masked_paths: parts.masked_paths,
            litter: tokio::sync::Notify::new(),
            ahead: Ahead::default(),
            starts,
            joining: RwLock::default(),
            pod_ranges: Mutex::default(),
            features: OtherFeatures::default(),
        }
    }

    /// Returns what plugins are to give pods addresses from.
    pub(crate) fn pod_ranges(&self) -> MutexGuard<'_, Vec<IpNet>> {
        self.pod_ranges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns where the node keeps things.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.settings.paths
    }

    /// Says whether sandboxes of a runtime handler can have user namespaces on this machine: not those of other runtimes.
    #[must_use]
    pub fn user_namespaces(&self, handler: &str) -> bool {
        self.is_built_in(handler) && self.launcher.user_namespaces()
    }

    /// Asks the other runtimes what they can do, so that nobody waits for it later.
    pub async fn ask_runtimes(&self) {
        self.features.ask(&self.settings.handlers).await;
    }

    /// Says whether a runtime handler makes mounts read-only with all that is mounted below them. The
    /// first call asks the other runtimes, and waits for them a few seconds at most.
    pub async fn recursive_readonly(&self, handler: &str) -> bool {
        let all = &self.settings.handlers;
        self.is_built_in(handler) || self.features.recursive_readonly(all, handler).await
    }

    /// Says whether a runtime handler is there, and the runtime built in makes its containers.
    #[must_use]
    pub fn is_built_in(&self, handler: &str) -> bool {
        let handler = self.settings.handlers.get(handler);
        handler.is_some_and(|handler| handler.program.is_none())
    }

    /// Returns the state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.settings.paths.state
    }
}

/// Runs blocking kernel work on a thread made for it.
///
/// # Errors
/// [`Interrupted`] when the runtime is being shut down.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Interrupted> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Interrupted)
}

/// The agent is going down, or a task of it failed; what was under way is finished or undone by
/// the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent is shutting down")]
pub struct Interrupted;

impl agent_types::Classify for Interrupted {
    fn kind(&self) -> agent_types::ErrorKind {
        agent_types::ErrorKind::Unavailable
    }
}
