//! Results as each version wants to read them.

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{Address, NetworkResult, Route};
use crate::version::SpecVersion;

/// What an interface says since 1.1.0.
const OF_INTERFACES: [&str; 3] = ["mtu", "socketPath", "pciID"];

/// What a route says since 1.1.0.
const OF_ROUTES: [&str; 5] = ["mtu", "advmss", "priority", "table", "scope"];

impl NetworkResult {
    /// Writes the result as `version` has it; what the version has no words for is left out.
    pub(crate) fn render(&self, version: SpecVersion) -> Value {
        if version < SpecVersion::V0_3_0 {
            return self.render_first(version);
        }
        let mut result = self.clone();
        if version < SpecVersion::V1_1_0 {
            for interface in &mut result.interfaces {
                OF_INTERFACES
                    .iter()
                    .for_each(|key| drop(interface.rest.remove(*key)));
            }
            for route in &mut result.routes {
                OF_ROUTES
                    .iter()
                    .for_each(|key| drop(route.rest.remove(*key)));
            }
        }
        let mut written = json!(result);
        if version < SpecVersion::V1_0_0
            && let Some(Value::Array(ips)) = written.get_mut("ips")
        {
            for (ip, address) in ips.iter_mut().zip(&self.ips) {
                ip["version"] = json!(if is_v4(address.address) { "4" } else { "6" });
            }
        }
        written["cniVersion"] = json!(version);
        written
    }

    /// Writes the first address of each family.
    fn render_first(&self, version: SpecVersion) -> Value {
        let mut written = json!({"cniVersion": version, "dns": self.dns});
        for (key, v4) in [("ip4", true), ("ip6", false)] {
            let mut of_family = self.ips.iter().filter(|ip| is_v4(ip.address) == v4);
            let Some(Address {
                address, gateway, ..
            }) = of_family.next()
            else {
                continue;
            };
            let routes: Vec<Value> = self
                .routes
                .iter()
                .filter(|route| is_v4(route.dst) == v4)
                .map(|Route { dst, gw, .. }| match gw {
                    Some(gw) => json!({"dst": dst, "gw": gw}),
                    None => json!({"dst": dst}),
                })
                .collect();
            let mut family = json!({"ip": address});
            if let Some(gateway) = gateway {
                family["gateway"] = json!(gateway);
            }
            if !routes.is_empty() {
                family["routes"] = Value::Array(routes);
            }
            written[key] = family;
        }
        written
    }
}

fn is_v4(network: IpNet) -> bool {
    matches!(network, IpNet::V4(_))
}
