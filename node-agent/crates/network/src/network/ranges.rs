//! The range that the cluster gives this node's pods.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Inner, Network, lock};
use crate::config::{ConfigProblem, wrong_with4, wrong_with6};
use crate::error::{PrepareError, RangesError};
use crate::host::{bridge, overlap, sysctl};
use crate::pools::Subnets;

impl Network {
    /// Has pods that are made from now on get addresses of `ranges`, at most one of each family;
    /// of none: of the configured ones. Those that stand keep what they have.
    ///
    /// A bridge that is there gets its addresses in the ranges, and rules for them.
    ///
    /// # Errors
    /// When a range cannot be used by sandboxes, or is in use on the host; nothing is changed then.
    pub async fn set_ranges(&self, ranges: &[IpNet]) -> Result<(), RangesError> {
        let cluster = self.inner.checked(ranges)?;
        if let Some(subnets) = cluster {
            self.inner.check_free(subnets).await?;
        }
        // Who makes the host ready right now may have read the former ones: it is done again then.
        let turn = self.inner.preparing.lock().await;
        let before = lock(&self.inner.state).pools.set_cluster(cluster);
        if before == cluster {
            return Ok(());
        }
        let made = lock(&self.inner.base).take();
        drop(turn);
        if made.is_none() {
            // The first sandbox will find them.
            return Ok(());
        }
        if let Err(source) = self.base().await {
            lock(&self.inner.state).pools.set_cluster(before);
            return Err(RangesError::Prepare { source });
        }
        Ok(())
    }

    /// Takes the ranges that an earlier run was told, before [`Network::recover`]: nothing of the
    /// host is looked at.
    ///
    /// # Errors
    /// When a range cannot be used by sandboxes.
    pub fn restore_ranges(&self, ranges: &[IpNet]) -> Result<(), RangesError> {
        let cluster = self.inner.checked(ranges)?;
        lock(&self.inner.state).pools.set_cluster(cluster);
        Ok(())
    }
}

impl Inner {
    fn checked(&self, ranges: &[IpNet]) -> Result<Option<Subnets>, RangesError> {
        let (mut ipv4, mut ipv6): Subnets = (None, None);
        for range in ranges {
            let second = || RangesError::Second { range: *range };
            match range.trunc() {
                IpNet::V4(net) => take(&mut ipv4, net, wrong_with4).ok_or_else(second)??,
                IpNet::V6(net) => take(&mut ipv6, net, wrong_with6).ok_or_else(second)??,
            }
        }
        if ipv4.is_some() && ipv6.is_some() && !sysctl::has_ipv6() {
            ipv6 = None;
            self.warn("the kernel has no IPv6: pods get IPv4 addresses only".to_owned());
        }
        Ok((ipv4.is_some() || ipv6.is_some()).then_some((ipv4, ipv6)))
    }

    /// Refuses ranges that others use, or that are a part of a range of ours.
    async fn check_free(&self, subnets: Subnets) -> Result<(), RangesError> {
        let known = lock(&self.state).pools.subnets();
        let new: Vec<IpNet> = nets(subnets)
            .into_iter()
            .filter(|net| !known.iter().any(|own| own.trunc() == *net))
            .collect();
        for net in &new {
            let overlaps = |own: &&IpNet| own.contains(&net.network()) || net.contains(&own.addr());
            if let Some(own) = known.iter().find(overlaps) {
                return Err(RangesError::Ours {
                    range: *net,
                    own: own.trunc(),
                });
            }
        }
        let inspect = |source| RangesError::Prepare {
            source: PrepareError::Inspect { source },
        };
        let links = bridge::links(&self.handle).await.map_err(inspect)?;
        let ours = bridge::find(&links, &self.config.bridge).map(|link| link.index);
        let around = bridge::surroundings(&self.handle, &links, ours).await;
        let around = around.map_err(inspect)?;
        match overlap::find(&new, &around.occupants) {
            Some((subnet, occupant)) => Err(RangesError::Prepare {
                source: PrepareError::Overlap { subnet, occupant },
            }),
            None => Ok(()),
        }
    }
}

/// Puts a range in its place; `None` when that is taken.
fn take<N: Copy>(
    place: &mut Option<N>,
    net: N,
    wrong: fn(N) -> Vec<ConfigProblem>,
) -> Option<Result<(), RangesError>> {
    if place.replace(net).is_some() {
        return None;
    }
    let problem = wrong(net).into_iter().next();
    Some(problem.map_or(Ok(()), |source| Err(RangesError::Range { source })))
}

fn nets((ipv4, ipv6): (Option<Ipv4Net>, Option<Ipv6Net>)) -> Vec<IpNet> {
    let ipv4 = ipv4.map(IpNet::from);
    ipv4.into_iter().chain(ipv6.map(IpNet::from)).collect()
}
