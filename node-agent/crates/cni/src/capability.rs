//! What a sandbox asks of plugins that say they can do it, in the words of the conventions.

use std::net::IpAddr;

use agent_types::NameServer;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::PluginConfig;

/// A port of the host that leads to a port of the sandbox (`portMappings`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Port of the host; never 0.
    pub host_port: u16,
    /// Port of the sandbox.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Address of the host; every one when absent.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none", default)]
    pub host_ip: Option<IpAddr>,
}

/// Rates in bits a second, bursts in bits; 0: no limit (`bandwidth`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bandwidth {
    /// Towards the sandbox.
    pub ingress_rate: u64,
    /// Towards the sandbox, at once.
    pub ingress_burst: u64,
    /// From the sandbox.
    pub egress_rate: u64,
    /// From the sandbox, at once.
    pub egress_burst: u64,
}

/// Name resolution that the sandbox was given (`dns`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DnsConfig {
    /// Name servers.
    pub servers: Vec<NameServer>,
    /// Domains to search.
    pub searches: Vec<String>,
    /// Options of resolv.conf(5).
    pub options: Vec<String>,
}

/// What is asked of plugins; each hears only of what it declares.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Ports to publish.
    pub port_mappings: Vec<PortMapping>,
    /// Limits of traffic.
    pub bandwidth: Option<Bandwidth>,
    /// Name resolution.
    pub dns: Option<DnsConfig>,
    /// Ranges to take addresses from, one of each family: the node's share of the cluster's.
    pub ip_ranges: Vec<IpNet>,
    /// Path of the pod's cgroup.
    pub cgroup_path: Option<String>,
}

impl Capabilities {
    /// Returns what `plugin` is told at run time: what is asked for and it declares.
    pub(crate) fn for_plugin(&self, plugin: &PluginConfig) -> Map<String, Value> {
        let all = [
            ("portMappings", self.ports()),
            ("bandwidth", self.bandwidth.map(|limits| json!(limits))),
            ("dns", self.dns.as_ref().map(|dns| json!(dns))),
            ("ipRanges", self.ranges()),
            (
                "cgroupPath",
                self.cgroup_path.as_ref().map(|path| json!(path)),
            ),
        ];
        let asked = all
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let wanted = asked.filter(|(name, _)| plugin.has_capability(name));
        wanted
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn ports(&self) -> Option<Value> {
        (!self.port_mappings.is_empty()).then(|| json!(self.port_mappings))
    }

    /// Each range is a set of its own: an address is taken from every one of them.
    fn ranges(&self) -> Option<Value> {
        let sets = self.ip_ranges.iter();
        let sets: Vec<Value> = sets.map(|range| json!([{ "subnet": range }])).collect();
        (!sets.is_empty()).then_some(Value::Array(sets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn everything() -> Capabilities {
        Capabilities {
            port_mappings: vec![
                PortMapping {
                    host_port: 8080,
                    container_port: 80,
                    protocol: "tcp".to_owned(),
                    host_ip: None,
                },
                PortMapping {
                    host_port: 53,
                    container_port: 5353,
                    protocol: "udp".to_owned(),
                    host_ip: Some("::1".parse().unwrap()),
                },
            ],
            bandwidth: Some(Bandwidth {
                ingress_rate: 1000,
                ingress_burst: 8000,
                ..Bandwidth::default()
            }),
            dns: Some(DnsConfig {
                servers: vec!["10.0.0.10".parse().unwrap()],
                searches: vec!["cluster.local".to_owned()],
                options: vec!["ndots:5".to_owned()],
            }),
            ip_ranges: vec!["10.1.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()],
            cgroup_path: Some("/kubepods/pod1".to_owned()),
        }
    }

    fn plugin(capabilities: Value) -> PluginConfig {
        serde_json::from_value(json!({"type": "p", "capabilities": capabilities})).unwrap()
    }

    #[test]
    fn a_plugin_that_declares_everything_hears_everything() {
        let all = plugin(json!({
            "portMappings": true, "bandwidth": true, "dns": true, "ipRanges": true, "cgroupPath": true
        }));
        let mut told = Value::Object(everything().for_plugin(&all));
        // Another crate of the same build may have turned on serde_json's order of insertion.
        told.sort_all_objects();
        expect![[r#"{"bandwidth":{"egressBurst":0,"egressRate":0,"ingressBurst":8000,"ingressRate":1000},"cgroupPath":"/kubepods/pod1","dns":{"options":["ndots:5"],"searches":["cluster.local"],"servers":["10.0.0.10"]},"ipRanges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00::/64"}]],"portMappings":[{"containerPort":80,"hostPort":8080,"protocol":"tcp"},{"containerPort":5353,"hostIP":"::1","hostPort":53,"protocol":"udp"}]}"#]].assert_eq(&told.to_string());
    }

    #[test]
    fn a_plugin_hears_only_of_what_it_declares() {
        let some = plugin(json!({"portMappings": true, "bandwidth": false, "mac": true}));
        let told = everything().for_plugin(&some);
        assert_eq!(told.keys().collect::<Vec<_>>(), ["portMappings"]);
        let none: PluginConfig = serde_json::from_value(json!({"type": "p"})).unwrap();
        assert!(everything().for_plugin(&none).is_empty());
        assert!(Capabilities::default().for_plugin(&some).is_empty());
    }

    #[test]
    fn capabilities_survive_their_record() {
        let text = serde_json::to_string(&everything()).unwrap();
        assert_eq!(
            serde_json::from_str::<Capabilities>(&text).unwrap(),
            everything()
        );
    }
}
