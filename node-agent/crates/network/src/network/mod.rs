//! The network of this node: one bridge, its rules, and every sandbox on it.
//!
//! ```text
//!  reserve ──> attach ──> detach ──> (link seen gone) ──> address free
//!     │                     ▲
//!     └─────────────────────┘   a reservation alone is given back by detach as well
//! ```

mod ahead;
mod attach;
mod detach;
mod open;
mod prepare;
mod ranges;
mod recover;
mod reserve;
mod state;
mod stats;
mod teardown;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use agent_types::SandboxId;
use tokio::task::AbortHandle;

use crate::config::Config;
use crate::forward::Forwarder;
use crate::host::{HostChanges, Ledger};
use crate::netlink::Socket;
use crate::nft::Table;

pub use recover::Recovery;
pub use stats::Status;

use state::State;

/// What is known of the host once it is ready for sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Base {
    /// Index of the bridge.
    bridge: u32,
    /// MTU of the links.
    mtu: u32,
}

/// The built-in network; cheap to clone.
#[derive(Debug, Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    /// What links of ours start with.
    prefix: String,
    ledger: Arc<dyn Ledger>,
    changes: Mutex<HostChanges>,
    /// Serves everything that is not once per sandbox.
    handle: rtnetlink::Handle,
    /// For the links of sandboxes.
    route: Mutex<Socket>,
    /// For published ports; whoever compares them with the records holds it meanwhile.
    table: Mutex<Table>,
    state: Mutex<State>,
    base: Mutex<Option<Base>>,
    /// One preparation at a time.
    preparing: tokio::sync::Mutex<()>,
    forwarders: Mutex<HashMap<SandboxId, Vec<Forwarder>>>,
    warnings: Mutex<Vec<String>>,
    watchers: OnceLock<[AbortHandle; 2]>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop_watching();
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Locks, also after a panic elsewhere: every holder leaves the value whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn stop_watching(&self) {
        for watcher in self.watchers.get().into_iter().flatten() {
            watcher.abort();
        }
    }

    fn warn(&self, warning: String) {
        let mut warnings = lock(&self.warnings);
        if !warnings.contains(&warning) {
            tracing::warn!(reason = %warning, "network degraded");
            warnings.push(warning);
        }
    }
}
