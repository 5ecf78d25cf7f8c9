//! A network made ahead of need: the next sandbox on the built-in bridge finds its namespace, its
//! link and its addresses there.
//!
//! To make them is more than a third of a sandbox's start and depends on nothing that is asked for
//! but the range of the addresses. One waits at a time, made a moment after a sandbox has come up;
//! it lives by one descriptor of this process, and the link goes with the namespace. It is in no
//! record: whoever starts after a crash finds nothing of it, or a link that nobody knows.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use agent_network::{
    AttachError, AttachSpec, Attachment, Guest, ModeSpec, Network, ReserveError, Source,
};
use agent_sys::netns;
use agent_types::{Owner, SandboxId};
use tokio::sync::Mutex;

use super::spec::{SandboxNetwork, SandboxRecord};
use crate::services::{Interrupted, Services, blocking};

/// How long after a sandbox came up the next network is made: its first container comes then, and
/// would share the processors with it.
const PAUSE: Duration = Duration::from_millis(4);

/// Addresses that stay free for those who ask: a small range is not kept from them.
const LEFT_FREE: usize = 16;

/// The network that waits.
#[derive(Debug, Default)]
pub(crate) struct Ahead(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    made: Option<Made>,
    closed: bool,
}

/// A network without a sandbox.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) attachment: Attachment,
    pub(crate) netns: OwnedFd,
    source: Source,
}

/// Why none was made; nobody waits for it.
#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error("no name for it")]
    Random(#[source] std::io::Error),
    #[error("no namespace for it")]
    Namespace(#[source] std::io::Error),
    #[error("no address for it")]
    Reserve(#[from] ReserveError),
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Ahead {
    /// Returns the network that waits, if it has addresses of `source`; never waits for it.
    pub(crate) fn take(&self, source: Source) -> Option<Made> {
        let mut state = self.0.try_lock().ok()?;
        state.made.take_if(|made| made.source == source)
    }

    /// Gives back the network that waits, and makes no other until the next sandbox has come up.
    pub(crate) async fn discard(&self, network: &Network) {
        let mut state = self.0.lock().await;
        if let Some(made) = state.made.take() {
            give_back(network, made).await;
        }
    }

    /// Gives back the network that waits; none is made any more.
    pub(crate) async fn close(&self, network: &Network) {
        self.0.lock().await.closed = true;
        self.discard(network).await;
    }
}

/// Lets a network go that nobody took.
pub(crate) async fn give_back(network: &Network, made: Made) {
    let Made {
        attachment, netns, ..
    } = made;
    // The link goes with its namespace, and its address is free when it has gone.
    drop(netns);
    if let Err(error) = network.detach(&attachment).await {
        tracing::warn!(error = %agent_telemetry::chain(&error), "network made ahead not given back");
    }
}

/// Returns whose addresses a sandbox gets.
pub(crate) fn source(owner: Owner) -> Source {
    match owner {
        Owner::Cri => Source::Cluster,
        Owner::Local => Source::Configured,
    }
}

/// Says whether a sandbox can have a network in which everything is set: its links do not take
/// over what is to be set first, and its namespace is the host's user namespace's.
pub(crate) fn fits(record: &SandboxRecord) -> bool {
    let spec = &record.spec;
    spec.network == SandboxNetwork::Bridge
        && spec.sysctls.is_empty()
        && spec.user_namespace.is_none()
}

/// Makes a network for whoever comes after a sandbox that has just come up.
pub(crate) fn refill(services: &Arc<Services>, record: &SandboxRecord) {
    let (services, source) = (Arc::clone(services), source(record.spec.owner));
    tokio::spawn(async move {
        tokio::time::sleep(PAUSE).await;
        let mut state = services.ahead.0.lock().await;
        if state
            .made
            .as_ref()
            .is_some_and(|made| made.source != source)
            && let Some(made) = state.made.take()
        {
            give_back(&services.network, made).await;
        }
        if state.closed || state.made.is_some() || !has_room(&services.network) {
            return;
        }
        match make(&services.network, source).await {
            Ok(made) => state.made = Some(made),
            Err(error) => {
                tracing::debug!(error = %agent_telemetry::chain(&error), "no network made ahead");
            }
        }
    });
}

fn has_room(network: &Network) -> bool {
    let status = network.status();
    let all = usize::try_from(status.addresses).unwrap_or(usize::MAX);
    all.saturating_sub(status.addresses_in_use) > LEFT_FREE
}

async fn make(network: &Network, source: Source) -> Result<Made, MakeError> {
    let random = crate::random::bytes().map_err(MakeError::Random)?;
    let inside = || {
        let netns = netns::create()?;
        let netlink = netns::route_socket_in(netns.as_fd())?;
        Ok::<_, std::io::Error>((netns, netlink))
    };
    let (netns, netlink) = blocking(inside).await?.map_err(MakeError::Namespace)?;
    let attachment = network.reserve(&AttachSpec {
        sandbox: SandboxId::from_random(random),
        mode: ModeSpec::Bridge,
        ports: Vec::new(),
        source,
    })?;
    let guest = Guest {
        netns: netns.as_fd(),
        netlink,
    };
    let attached = network.attach(&attachment, Some(guest)).await;
    let made = Made {
        attachment,
        netns,
        source,
    };
    match attached {
        Ok(()) => Ok(made),
        Err(error) => {
            give_back(network, made).await;
            Err(error.into())
        }
    }
}
