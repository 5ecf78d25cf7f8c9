//! A kubelet, as far as the node's side of it can tell: the same calls in the same order, at the
//! same time as each other.
//!
//! ```text
//! relist ──world──▶ worker (one a pod) ──▶ sandbox, init containers, sidecars, main containers
//!                   probe (many a second), rotation, collection, node status     side by side
//! ```
//!
//! It holds nothing that it needs after a restart: the next one finds everything by listing.

pub(crate) mod action;
mod collect;
pub(crate) mod config;
mod node_status;
mod probe;
mod relist;
mod rotate;
mod shutdown;
mod sync;
mod tally;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harness::cri::Cri;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::pod::Pod;
pub(crate) use relist::World;
pub(crate) use tally::{Ends, Tally};

/// The node that a kubelet is on.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) cri: Cri,
    pub(crate) image: String,
    /// Where pods' logs lie.
    pub(crate) logs: PathBuf,
    /// Where pods' volumes and files lie.
    pub(crate) volumes: PathBuf,
    pub(crate) tally: Arc<Tally>,
    /// The last number in each log, so that none is lost or doubled.
    pub(crate) numbers: Arc<Mutex<BTreeMap<PathBuf, u64>>>,
}

/// What pods there should be, by uid. It outlives kubelets, as an API server does.
pub(crate) type Wanted = Arc<Mutex<BTreeMap<String, Pod>>>;

pub(crate) fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all parts of a kubelet share.
#[derive(Debug)]
pub(crate) struct Kubelet {
    machine: Machine,
    wanted: Wanted,
    /// What was seen last, and the clock when that look began.
    world: watch::Sender<(u64, World)>,
    /// Moves on whenever something was changed.
    clock: AtomicU64,
    /// Set when a look is wanted before its time.
    hurry: Notify,
    /// Exec probes a second, of all pods together.
    probes: u32,
}

/// A kubelet that runs. Dropped, it is gone at once, as if killed.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) kubelet: Arc<Kubelet>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Starts a kubelet.
    pub(crate) fn start(machine: Machine, wanted: Wanted, probes: u32) -> Self {
        let kubelet = Arc::new(Kubelet {
            machine,
            wanted,
            world: watch::Sender::default(),
            clock: AtomicU64::new(1),
            hurry: Notify::new(),
            probes,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&kubelet).introduce());
        tasks.spawn(Arc::clone(&kubelet).relist());
        tasks.spawn(Arc::clone(&kubelet).hear_events());
        tasks.spawn(Arc::clone(&kubelet).watch_node());
        tasks.spawn(Arc::clone(&kubelet).dispatch());
        tasks.spawn(Arc::clone(&kubelet).probe());
        tasks.spawn(Arc::clone(&kubelet).rotate());
        tasks.spawn(Arc::clone(&kubelet).collect());
        Self { kubelet, tasks }
    }

    /// Ends it at once, in the middle of whatever it does.
    pub(crate) async fn kill(mut self) {
        self.tasks.shutdown().await;
    }
}

impl Kubelet {
    /// Returns the pods that are wanted.
    fn pods(&self) -> Vec<Pod> {
        lock(&self.wanted).values().cloned().collect()
    }
}
