//! Takes everything of ours off the host; what that is, the ledger knows.

use super::{Network, lock};
use crate::error::{TeardownError, TeardownErrors};
use crate::host::bridge::{self, Link};
use crate::host::{HostChanges, Mark, sysctl, turn};
use crate::netlink::interface_prefix;
use crate::nft::Table;

impl Network {
    /// Takes everything of a running network off the host, see [`Network::teardown`]. For an agent
    /// that ends without sandboxes: nothing is watched or put right afterwards.
    ///
    /// # Errors
    /// With everything that could not be removed; the rest was.
    pub async fn leave(&self) -> Result<(), TeardownErrors> {
        // Whatever is being made is finished first, and nothing is made again: to the watchers,
        // what goes now would be others' doing.
        let _one = self.inner.preparing.lock().await;
        self.inner.stop_watching();
        *lock(&self.inner.base) = None;
        let changes = lock(&self.inner.changes).clone();
        Self::teardown(&changes).await
    }

    /// Removes the bridge with every link on it that is ours, the rules, and puts the settings
    /// back that were changed; repeatable. Call it without a running network on this bridge.
    ///
    /// Settings stay as they are while another agent's bridge is there: it has them in its own
    /// ledger.
    ///
    /// # Errors
    /// With everything that could not be removed; the rest was.
    pub async fn teardown(changes: &HostChanges) -> Result<(), TeardownErrors> {
        let _turn = turn::take().await;
        let mut errors = Vec::new();
        let mut others = false;
        match rtnetlink::new_connection() {
            Ok((connection, handle, _)) => {
                let connection = tokio::spawn(connection);
                match bridge::links(&handle).await {
                    Ok(links) => {
                        others = links.iter().any(|link| is_of_another(link, changes));
                        errors.extend(remove_links(&handle, &links, changes).await);
                    }
                    Err(source) => errors.push(TeardownError::Inspect { source }),
                }
                connection.abort();
            }
            Err(source) => errors.push(TeardownError::Socket {
                what: "rtnetlink",
                source,
            }),
        }
        let changes = changes.clone();
        let rest = tokio::task::spawn_blocking(move || remove_rest(&changes, others)).await;
        match rest {
            Ok(more) => errors.extend(more),
            Err(source) => errors.push(TeardownError::Interrupted { source }),
        }
        TeardownErrors::check(errors)
    }
}

fn is_of_another(link: &Link, changes: &HostChanges) -> bool {
    link.is_bridge && Mark::parse(&link.alias).is_some_and(|mark| mark.owner != changes.owner)
}

async fn remove_links(
    handle: &rtnetlink::Handle,
    links: &[Link],
    changes: &HostChanges,
) -> Vec<TeardownError> {
    let ours = |link: &&Link| {
        link.is_bridge
            && changes.bridge.as_deref() == Some(link.name.as_str())
            && changes.own(&link.name, &link.alias)
    };
    let Some(bridge) = links.iter().find(ours) else {
        return Vec::new();
    };
    let prefix = interface_prefix(&bridge.name);
    let port = |link: &&Link| {
        link.is_veth && link.controller == Some(bridge.index) && link.name.starts_with(&prefix)
    };
    let mut errors = Vec::new();
    for link in links.iter().filter(port).chain([bridge]) {
        if let Err(source) = bridge::delete(handle, link.index).await {
            errors.push(TeardownError::Link {
                interface: link.name.clone(),
                source,
            });
        }
    }
    errors
}

fn remove_rest(changes: &HostChanges, others: bool) -> Vec<TeardownError> {
    let mut errors = Vec::new();
    if let Some(name) = &changes.table {
        match Table::open(name) {
            Ok(mut table) => {
                errors.extend(table.delete().err().map(|source| TeardownError::Tables {
                    table: name.clone(),
                    source,
                }))
            }
            Err(source) => errors.push(TeardownError::Socket {
                what: "nfnetlink",
                source,
            }),
        }
    }
    if !others {
        let failed = sysctl::restore(&changes.sysctls);
        errors.extend(
            failed
                .into_iter()
                .map(|source| TeardownError::Sysctl { source }),
        );
    }
    errors
}
