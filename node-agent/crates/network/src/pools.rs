//! The ranges that sandboxes get addresses from: the configured one, and one that the cluster gave.
//!
//! A range that the cluster replaced stays for as long as a sandbox has an address of it. Pure.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::ipam::{Exhausted, Pool};

/// Whose range a sandbox gets its addresses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Source {
    /// The configured one.
    #[default]
    Configured,
    /// The one that the cluster gave; the configured one until it has.
    Cluster,
}

/// A range of either family, at most one of each.
pub(crate) type Subnets = (Option<Ipv4Net>, Option<Ipv6Net>);

/// A number of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    /// The range, by what it is: no two of them are alike.
    pub(crate) subnets: Subnets,
    /// The number in it.
    pub(crate) number: u32,
}

/// Every range of the bridge.
#[derive(Debug)]
pub(crate) struct Pools {
    /// The configured one comes first.
    pools: Vec<Pool>,
    cluster: Option<Subnets>,
}

impl Pools {
    /// Returns the configured range alone.
    pub(crate) fn new(configured: Pool) -> Self {
        Self {
            pools: vec![configured],
            cluster: None,
        }
    }

    fn find(&self, subnets: Subnets) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnets() == subnets)
    }

    fn find_mut(&mut self, subnets: Subnets) -> Option<&mut Pool> {
        self.pools.iter_mut().find(|pool| pool.subnets() == subnets)
    }

    /// Returns the range that new sandboxes of a kind get addresses from.
    pub(crate) fn of(&self, source: Source) -> &Pool {
        let cluster = self.cluster.filter(|_| source == Source::Cluster);
        let cluster = cluster.and_then(|subnets| self.find(subnets));
        cluster.unwrap_or(&self.pools[0])
    }

    /// Takes the next free number for a new sandbox.
    pub(crate) fn allocate(&mut self, source: Source) -> Result<Number, Exhausted> {
        let subnets = self.of(source).subnets();
        let pool = self.find_mut(subnets);
        let number = pool.map_or_else(|| Err(Exhausted::default()), Pool::allocate)?;
        Ok(Number { subnets, number })
    }

    /// Takes what a record of an earlier run has. A range that is not known any more is, as long as
    /// somebody has an address of it. `None` where the record has no address; false where the
    /// address belongs to another.
    pub(crate) fn adopt(
        &mut self,
        ipv4: Option<Ipv4Net>,
        ipv6: Option<Ipv6Net>,
    ) -> Option<(Number, bool)> {
        let (address4, address6) = (ipv4.map(|net| net.addr()), ipv6.map(|net| net.addr()));
        let recorded = (ipv4.map(|net| net.trunc()), ipv6.map(|net| net.trunc()));
        if recorded == (None, None) {
            return None;
        }
        let knows = |pool: &Pool| Some((pool.subnets(), pool.number_of(address4, address6)?));
        let known = self.pools.iter().find_map(knows);
        let (subnets, number) = match known {
            Some(known) => known,
            None => {
                let pool = Pool::new(recorded.0, recorded.1);
                let number = pool.number_of(address4, address6)?;
                self.pools.push(pool);
                (recorded, number)
            }
        };
        let taken = self.find_mut(subnets)?.take(number);
        Some((Number { subnets, number }, taken))
    }

    /// Gives a number back.
    pub(crate) fn release(&mut self, number: Number) {
        if let Some(pool) = self.find_mut(number.subnets) {
            pool.release(number.number);
        }
    }

    /// Takes the cluster's range in place of the one before, and drops what nobody has an address
    /// of. Returns the one before.
    pub(crate) fn set_cluster(&mut self, cluster: Option<Subnets>) -> Option<Subnets> {
        let before = std::mem::replace(&mut self.cluster, cluster);
        if let Some(subnets) = cluster
            && self.find(subnets).is_none()
        {
            self.pools.push(Pool::new(subnets.0, subnets.1));
        }
        let configured = self.pools[0].subnets();
        let current = self.cluster;
        self.pools.retain(|pool| {
            let subnets = pool.subnets();
            subnets == configured || Some(subnets) == current || pool.in_use() > 0
        });
        before
    }

    /// Returns every range.
    pub(crate) fn all(&self) -> &[Pool] {
        &self.pools
    }

    /// Returns the ranges of all of them.
    pub(crate) fn subnets(&self) -> Vec<IpNet> {
        self.nets(|pool| pool.subnets())
    }

    /// Returns the bridge's addresses with the lengths of their prefixes.
    pub(crate) fn gateways(&self) -> Vec<IpNet> {
        self.nets(|pool| {
            let ((net4, net6), (ip4, ip6)) = (pool.subnets(), pool.gateways());
            let ipv4 = net4.zip(ip4);
            let ipv6 = net6.zip(ip6);
            (
                ipv4.and_then(|(net, ip)| Ipv4Net::new(ip, net.prefix_len()).ok()),
                ipv6.and_then(|(net, ip)| Ipv6Net::new(ip, net.prefix_len()).ok()),
            )
        })
    }

    fn nets(&self, of: impl Fn(&Pool) -> Subnets) -> Vec<IpNet> {
        let nets = |pool: &Pool| {
            let (ipv4, ipv6) = of(pool);
            let ipv4 = ipv4.map(IpNet::from);
            ipv4.into_iter().chain(ipv6.map(IpNet::from))
        };
        self.pools.iter().flat_map(nets).collect()
    }

    /// Returns whether any range is of IPv4, and whether any is of IPv6.
    pub(crate) fn families(&self) -> (bool, bool) {
        let has = |family: fn(&Pool) -> bool| self.pools.iter().any(family);
        (
            has(|pool| pool.subnets().0.is_some()),
            has(|pool| pool.subnets().1.is_some()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnets(ipv4: &str, ipv6: &str) -> Subnets {
        (ipv4.parse().ok(), ipv6.parse().ok())
    }

    fn pools() -> Pools {
        Pools::new(Pool::new("10.199.0.0/16".parse().ok(), None))
    }

    fn address(pools: &Pools, number: Number) -> String {
        let pool = pools.find(number.subnets).unwrap();
        pool.addresses(number.number).0.unwrap().to_string()
    }

    #[test]
    fn new_pods_get_addresses_of_the_clusters_range_and_people_of_the_configured() {
        let mut pools = pools();
        let before = pools.allocate(Source::Cluster).unwrap();
        assert_eq!(address(&pools, before), "10.199.0.2");
        pools.set_cluster(Some(subnets("10.1.2.0/24", "fd00::/64")));
        let pod = pools.allocate(Source::Cluster).unwrap();
        assert_eq!(address(&pools, pod), "10.1.2.2");
        let person = pools.allocate(Source::Configured).unwrap();
        assert_eq!(address(&pools, person), "10.199.0.3");
        let gateways: Vec<_> = pools.gateways().iter().map(ToString::to_string).collect();
        assert_eq!(gateways, ["10.199.0.1/16", "10.1.2.1/24", "fd00::1/64"]);
        assert_eq!(pools.families(), (true, true));
    }

    #[test]
    fn a_replaced_range_stays_as_long_as_somebody_has_an_address_of_it() {
        let mut pools = pools();
        let (first, second) = (subnets("10.1.0.0/24", ""), subnets("10.2.0.0/24", ""));
        pools.set_cluster(Some(first));
        let pod = pools.allocate(Source::Cluster).unwrap();
        assert_eq!(pools.set_cluster(Some(second)), Some(first));
        assert_eq!(pools.subnets().len(), 3);
        pools.release(pod);
        pools.set_cluster(Some(second));
        assert_eq!(pools.subnets().len(), 2);
        pools.set_cluster(None);
        assert_eq!(pools.subnets().len(), 1);
        let configured = subnets("10.199.0.0/16", "");
        pools.set_cluster(Some(configured));
        assert_eq!(pools.subnets().len(), 1, "it is the configured one");
    }

    #[test]
    fn records_bring_their_range_with_them() {
        let mut pools = pools();
        let old = "10.1.0.7/24".parse().ok();
        let (number, taken) = pools.adopt(old, None).unwrap();
        assert!(taken && address(&pools, number) == "10.1.0.7");
        assert!(
            !pools.adopt(old, None).unwrap().1,
            "it belongs to the first"
        );
        assert!(pools.adopt("10.199.0.9/16".parse().ok(), None).unwrap().1);
        assert_eq!(pools.adopt(None, None), None);
        assert_eq!(pools.subnets().len(), 2);
    }
}
