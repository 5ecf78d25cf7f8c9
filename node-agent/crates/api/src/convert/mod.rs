//! Between messages and the node's own types, one file a noun.

pub(crate) mod container;
pub(crate) mod event;
pub(crate) mod image;
pub(crate) mod local;
pub(crate) mod metrics;
mod mount;
pub(crate) mod resources;
pub(crate) mod sandbox;
mod security;
mod security_options;
pub(crate) mod shown;
pub(crate) mod stats;
mod users;

use std::collections::{BTreeMap, HashMap};

use agent_types::{NameServer, NameServerError};
use ipnet::IpNet;
use tonic::Status;

use crate::status::{self, invalid};

/// Returns a message's map in the order of its keys.
pub(crate) fn ordered(map: HashMap<String, String>) -> BTreeMap<String, String> {
    map.into_iter().collect()
}

/// Returns a map as a message has it.
pub(crate) fn unordered(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Returns whether an object has every label of a selector.
pub(crate) fn selected(
    labels: &BTreeMap<String, String>,
    selector: &HashMap<String, String>,
) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// Refuses what is said for a node of another kind.
pub(crate) fn refuse_windows(is_given: bool) -> Result<(), Status> {
    match is_given {
        true => Err(invalid(
            "the windows part is given to a node that runs Linux",
        )),
        false => Ok(()),
    }
}

/// Returns name servers.
pub(crate) fn name_servers(servers: &[String]) -> Result<Vec<NameServer>, Status> {
    let parse = |text: &String| {
        text.parse()
            .map_err(|error: NameServerError| status::of(&error))
    };
    servers.iter().map(parse).collect()
}

/// Returns the ranges of a pod CIDR: one, or one of each family with a comma between.
pub(crate) fn ranges(text: &str) -> Result<Vec<IpNet>, Status> {
    let parse = |text: &str| {
        text.trim()
            .parse()
            .map_err(|_| invalid(format!("pod_cidr {text:?} is not a range of addresses")))
    };
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    parts.map(parse).collect()
}

/// Returns `None` for an empty text: the message's way of leaving a field out.
pub(crate) fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_cidr_is_one_range_or_one_of_each_family() {
        let texts = |text: &str| -> Option<Vec<String>> {
            let ranges = ranges(text).ok()?;
            Some(ranges.iter().map(ToString::to_string).collect())
        };
        assert_eq!(texts(""), Some(Vec::new()));
        let both = ["10.1.0.0/24".to_owned(), "fd00::/64".to_owned()];
        assert_eq!(texts("10.1.0.0/24, fd00::/64"), Some(both.to_vec()));
        assert_eq!(texts("10.1.0.0"), None);
    }
}
