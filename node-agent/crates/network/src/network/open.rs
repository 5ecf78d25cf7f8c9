//! Opens the network: sockets and memory only, nothing on the host is touched.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use super::state::State;
use super::{Inner, Network, watch};
use crate::config::Config;
use crate::error::OpenError;
use crate::host::{HostChanges, Ledger, sysctl};
use crate::ipam::Pool;
use crate::netlink::watch::Watch;
use crate::netlink::{Socket, interface_prefix};
use crate::nft::Table;
use crate::pools::Pools;

impl Network {
    /// Opens the network with `config`.
    ///
    /// `changes` is what the ledger has from earlier runs; `ledger` is told of each change to
    /// the host before it is made. The bridge and the rules are made by the first attachment, by
    /// [`Network::prepare`], or by [`Network::recover`] where it has sandboxes on the bridge.
    ///
    /// Must be called inside a tokio runtime, on a thread of the host's network namespace.
    ///
    /// # Errors
    /// When the settings are wrong or the kernel gives no socket.
    pub fn open(
        config: Config,
        changes: HostChanges,
        ledger: Arc<dyn Ledger>,
    ) -> Result<Self, OpenError> {
        config
            .check()
            .map_err(|source| OpenError::Config { source })?;
        let mut config = config;
        let mut changes = changes;
        if changes.owner.is_empty() {
            changes.owner = random_owner().map_err(|source| OpenError::Random { source })?;
        }
        let mut warnings = Vec::new();
        if config.ipv6_subnet.is_some() && config.ipv4_subnet.is_some() && !sysctl::has_ipv6() {
            config.ipv6_subnet = None;
            warnings.push("the kernel has no IPv6: sandboxes get IPv4 addresses only".to_owned());
        }
        let socket = |what| move |source: io::Error| OpenError::Socket { what, source };
        let (connection, handle, _) = rtnetlink::new_connection().map_err(socket("rtnetlink"))?;
        let route = Socket::route().map_err(socket("rtnetlink"))?;
        let table = Table::open(&config.table).map_err(socket("nfnetlink"))?;
        let links = Watch::links().map_err(socket("link events"))?;
        let tables = Watch::tables().map_err(socket("packet filter events"))?;
        tokio::spawn(connection);
        let pools = Pools::new(Pool::new(config.ipv4_subnet, config.ipv6_subnet));
        let inner = Arc::new(Inner {
            prefix: interface_prefix(&config.bridge),
            state: Mutex::new(State::new(pools, config.first_port)),
            config,
            ledger,
            changes: Mutex::new(changes),
            handle,
            route: Mutex::new(route),
            table: Mutex::new(table),
            base: Mutex::new(None),
            preparing: tokio::sync::Mutex::new(()),
            forwarders: Mutex::new(HashMap::new()),
            warnings: Mutex::new(warnings),
            watchers: OnceLock::new(),
        });
        let weak = Arc::downgrade(&inner);
        let watchers = [
            tokio::spawn(watch::links(links, weak.clone())).abort_handle(),
            tokio::spawn(watch::tables(tables, weak)).abort_handle(),
        ];
        let _ = inner.watchers.set(watchers);
        Ok(Self { inner })
    }
}

/// Returns a name that no other agent has.
fn random_owner() -> io::Result<String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(agent_types::ids::hex(&bytes))
}
