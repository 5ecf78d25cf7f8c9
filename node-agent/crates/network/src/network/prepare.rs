//! Makes the host ready for sandboxes: rules, bridge, settings, in the order that is safe.

use std::sync::Arc;

use super::{Base, Inner, Network, lock};
use crate::attachment::MacAddress;
use crate::error::PrepareError;
use crate::host::bridge::{self, Link};
use crate::host::sysctl::{self, SysctlError};
use crate::host::{Mark, overlap, rules, turn};
use crate::nft::{Rules, bridge_ruleset, inet_ruleset};
use crate::pools::Source;

/// MTU where the host has no default route to tell it.
const DEFAULT_MTU: u32 = 1500;
/// What IPv6 needs, also where the way out is narrower.
const MIN_MTU: u32 = 1280;

impl Network {
    /// Makes the bridge and lays down the rules now, in place of at the first attachment.
    ///
    /// # Errors
    /// When the subnet is in use on the host or the kernel refuses a step.
    pub async fn prepare(&self) -> Result<(), PrepareError> {
        self.base().await.map(drop)
    }

    /// Returns what is known of the host, making it ready at need.
    pub(super) async fn base(&self) -> Result<Base, PrepareError> {
        if let Some(base) = *lock(&self.inner.base) {
            return Ok(base);
        }
        let _one = self.inner.preparing.lock().await;
        if let Some(base) = *lock(&self.inner.base) {
            return Ok(base);
        }
        let base = self.inner.make_ready().await?;
        *lock(&self.inner.base) = Some(base);
        Ok(base)
    }
}

impl Inner {
    async fn make_ready(self: &Arc<Self>) -> Result<Base, PrepareError> {
        let name = &self.config.bridge;
        let inspect = |source| PrepareError::Inspect { source };
        let _turn = turn::take().await;
        let links = bridge::links(&self.handle).await.map_err(inspect)?;
        let existing = bridge::find(&links, name);
        if existing.as_ref().is_some_and(|link| !self.owns(link)) {
            return Err(PrepareError::NotOurs {
                bridge: name.clone(),
            });
        }
        let ours = existing.as_ref().map(|link| link.index);
        let around = bridge::surroundings(&self.handle, &links, ours).await;
        let around = around.map_err(inspect)?;
        let subnets = lock(&self.state).pools.subnets();
        if let Some((subnet, occupant)) = overlap::find(&subnets, &around.occupants) {
            return Err(PrepareError::Overlap { subnet, occupant });
        }
        let mtu = self
            .config
            .mtu
            .or(around.mtu)
            .unwrap_or(DEFAULT_MTU)
            .max(MIN_MTU);

        let writes = self.enter_in_ledger(&links)?;
        // The guard must stand before the bridge lets packets of 127.0.0.0/8 through.
        self.lay_down_rules().await?;
        let bridge = match ours {
            Some(index) => index,
            None => self.create_bridge(mtu).await?,
        };
        let failed = |source| PrepareError::Bridge {
            bridge: name.clone(),
            source,
        };
        // Before the settings are changed: whoever finds them changed finds here what they were.
        let alias = lock(&self.changes).to_alias();
        bridge::set_alias(&self.handle, bridge, &alias)
            .await
            .map_err(failed)?;
        self.take_back(&links, bridge).await;
        self.set_up(writes).await?;
        let gateways = lock(&self.state).pools.gateways();
        bridge::bring_up(&self.handle, bridge, &gateways)
            .await
            .map_err(failed)?;
        bridge::drop_others(&self.handle, bridge, &gateways)
            .await
            .map_err(failed)?;
        self.look_for_foreign_drops();
        tracing::info!(interface = %name, mtu, "network made ready");
        Ok(Base { bridge, mtu })
    }

    /// Says whether a link is our bridge.
    pub(super) fn owns(&self, link: &Link) -> bool {
        link.is_bridge
            && link.name == self.config.bridge
            && lock(&self.changes).own(&link.name, &link.alias)
    }

    /// Tells the ledger what is about to be changed and returns the settings to write.
    fn enter_in_ledger(&self, links: &[Link]) -> Result<Vec<(String, String)>, PrepareError> {
        let name = &self.config.bridge;
        let mut adopted = Vec::new();
        let others = links
            .iter()
            .filter(|link| link.is_bridge && link.name != *name);
        for (link, mark) in others.filter_map(|link| Some((link, Mark::parse(&link.alias)?))) {
            if mark.table == self.config.table {
                return Err(PrepareError::TableTaken {
                    table: mark.table,
                    other: link.name.clone(),
                });
            }
            adopted.extend(mark.sysctls);
        }
        let routing =
            |link: &&Link| link.controller.is_none() && !link.is_loopback && link.name != *name;
        let routing: Vec<String> = links
            .iter()
            .filter(routing)
            .map(|l| l.name.clone())
            .collect();
        let families = lock(&self.state).pools.families();
        let mut changes = lock(&self.changes).clone();
        let writes = sysctl::plan_forwarding(&mut changes, families, &routing, &adopted)
            .map_err(|source| self.sysctl_error(source))?;
        changes.bridge = Some(name.clone());
        changes.table = Some(self.config.table.clone());
        self.ledger
            .record(&changes)
            .map_err(|source| PrepareError::Ledger { source })?;
        *lock(&self.changes) = changes;
        Ok(writes)
    }

    pub(super) async fn lay_down_rules(&self) -> Result<(), PrepareError> {
        let subnets = lock(&self.state).pools.subnets();
        let rules = Rules {
            table: &self.config.table,
            bridge: &self.config.bridge,
            prefix: &self.prefix,
            subnets: &subnets,
        };
        let program = &self.config.nft;
        let failed = |source| PrepareError::Rules {
            bridge: self.config.bridge.clone(),
            source,
        };
        let text = inet_ruleset(&rules);
        if let Err(first) = rules::lay_down(program, &text).await {
            // A table of another version, whose maps have other types: start from nothing. What
            // it published comes back with the records.
            tracing::warn!(error = %first, "rules of an earlier agent are replaced");
            let anew = format!("delete table inet {}\n{text}", self.config.table);
            if rules::lay_down(program, &anew).await.is_err() {
                return Err(failed(first));
            }
        }
        if let Err(error) = rules::lay_down(program, &bridge_ruleset(&rules)).await {
            self.warn(format!(
                "sandboxes can send router advertisements to each other: {error}"
            ));
        }
        Ok(())
    }

    async fn create_bridge(&self, mtu: u32) -> Result<u32, PrepareError> {
        let name = &self.config.bridge;
        let failed = |source| PrepareError::Bridge {
            bridge: name.clone(),
            source,
        };
        // It goes with the configured range, and so stays what it is.
        let (ipv4, ipv6) = lock(&self.state).pools.of(Source::Configured).gateways();
        bridge::create(&self.handle, name, MacAddress::of(ipv4, ipv6), mtu)
            .await
            .map_err(failed)?;
        let links = bridge::links(&self.handle).await;
        let links = links.map_err(|source| PrepareError::Inspect { source })?;
        // Gone again already: the next attachment will say so.
        Ok(bridge::find(&links, name).map_or(0, |link| link.index))
    }

    /// Puts links of known sandboxes on the bridge that lost theirs when it was removed.
    async fn take_back(&self, links: &[Link], bridge: u32) {
        let lost = |link: &&Link| {
            link.is_veth
                && link.controller != Some(bridge)
                && lock(&self.state).knows_interface(&link.name)
        };
        for link in links.iter().filter(lost) {
            match bridge::join(&self.handle, link.index, bridge).await {
                Ok(()) => tracing::info!(interface = %link.name, "link put back on the bridge"),
                Err(error) => {
                    tracing::warn!(interface = %link.name, error = %error, "link could not be put back");
                }
            }
        }
    }

    /// Writes the bridge's own settings, which go with it, and those the ledger has.
    async fn set_up(self: &Arc<Self>, writes: Vec<(String, String)>) -> Result<(), PrepareError> {
        let name = &self.config.bridge;
        let mut settings = Vec::new();
        let (ipv4, ipv6) = lock(&self.state).pools.families();
        if ipv4 {
            // 127.0.0.1 of the host reaches published ports; the guard drops the rest.
            settings.push((format!("net/ipv4/conf/{name}/route_localnet"), "1"));
            settings.push((format!("net/ipv4/conf/{name}/accept_redirects"), "0"));
        }
        if sysctl::has_ipv6() {
            // CVE-2020-13401: no sandbox advertises itself as the host's router.
            settings.push((format!("net/ipv6/conf/{name}/accept_ra"), "0"));
            settings.push((format!("net/ipv6/conf/{name}/accept_redirects"), "0"));
            let off = if ipv6 { "0" } else { "1" };
            settings.push((format!("net/ipv6/conf/{name}/disable_ipv6"), off));
        }
        let mut settings: Vec<(String, String)> = settings
            .into_iter()
            .map(|(key, value)| (key, value.to_owned()))
            .collect();
        settings.extend(writes);
        let write_all = move || {
            settings
                .iter()
                .try_for_each(|(key, value)| sysctl::write(key, value))
        };
        tokio::task::spawn_blocking(write_all)
            .await
            .map_err(|source| PrepareError::Interrupted {
                bridge: name.clone(),
                source,
            })?
            .map_err(|source| self.sysctl_error(source))
    }

    fn sysctl_error(&self, source: SysctlError) -> PrepareError {
        PrepareError::Sysctl {
            bridge: self.config.bridge.clone(),
            source,
        }
    }

    /// Warns of rules of others that drop what our sandboxes send: nothing of ours can undo that.
    pub(super) fn look_for_foreign_drops(&self) {
        match lock(&self.table).foreign_drops() {
            Ok(chains) => {
                for chain in chains {
                    self.warn(format!(
                        "packet filter chain {chain} drops forwarded packets by policy: \
                         sandboxes may not reach other machines"
                    ));
                }
            }
            Err(error) => tracing::debug!(error = %error, "chains of others could not be listed"),
        }
    }
}
