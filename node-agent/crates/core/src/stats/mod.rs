//! What sandboxes and containers use: one sampler reads, everybody is served from what it read.
//!
//! Owns: when the kernel is asked. While somebody reads, everything that runs is sampled every
//! [`Config::period`]; when nobody has read for a while, nothing is done and nothing kept open.
//! What is younger than a period, and so was not sampled yet, is read when it is asked for. A sample
//! says when it was taken. Writable layers are counted file by file, which may take long: they have
//! a pass of their own, which takes a bounded share of one core.
//!
//! Does not: know how a cgroup or an interface is read.
//! Start reading at [`Sampler`].

pub(crate) mod detail;
mod layers;
mod pass;
pub(crate) mod read;
mod sampler;

use std::sync::Arc;
use std::time::Duration;

use agent_cgroup::Stats;
use agent_network::InterfaceStats;
use agent_snapshot::Usage;

use crate::sandbox::view::{ContainerView, SandboxView};
use crate::time::Timestamp;

pub use detail::{Capacity, Detail, Metrics};
pub use pass::run;
pub(crate) use read::Uncounted;
pub use sampler::Sampler;

/// How samples are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Time between two samples, while somebody reads them.
    pub period: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(2),
        }
    }
}

/// What a cgroup used at some moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What the kernel said, and when.
    pub stats: Stats,
    /// Billionths of a core in use, over the time since the sample before, or since it was started.
    pub nano_cores: u64,
}

/// What a container's writable layer held at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Space and inodes.
    pub usage: Usage,
    /// When they were counted.
    pub at: Timestamp,
}

/// What a sandbox's interfaces carried up to some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// Every interface but the loopback.
    pub interfaces: Vec<InterfaceStats>,
    /// When they were read.
    pub at: Timestamp,
}

impl Traffic {
    /// Returns the interface that leads out of the sandbox: eth0, or the first one.
    #[must_use]
    pub fn default_interface(&self) -> Option<&InterfaceStats> {
        let eth0 = self.interfaces.iter().find(|one| one.name == "eth0");
        eth0.or(self.interfaces.first())
    }
}

/// What a container uses.
#[derive(Debug, Clone)]
pub struct ContainerStats {
    /// The container.
    pub container: ContainerView,
    /// Of its cgroup; `None` when it does not run.
    pub sample: Option<Arc<Sample>>,
    /// Of its writable layer; `None` when that was not counted yet, or could not be.
    pub layer: Option<Layer>,
}

/// What a sandbox uses, with its containers.
#[derive(Debug, Clone)]
pub struct SandboxStats {
    /// The sandbox.
    pub sandbox: Arc<SandboxView>,
    /// Of its cgroup; `None` when it does not stand.
    pub sample: Option<Arc<Sample>>,
    /// Of its network; `None` when it has none of its own.
    pub traffic: Option<Arc<Traffic>>,
    /// Its running containers.
    pub containers: Vec<ContainerStats>,
}
