//! Between messages and the node's own types, one file a noun.

pub(crate) mod container;
pub(crate) mod image;
pub(crate) mod local;
pub(crate) mod resources;
pub(crate) mod sandbox;
pub(crate) mod shown;
pub(crate) mod stats;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use tonic::Status;

use crate::status::invalid;

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

/// Returns the addresses of name servers.
pub(crate) fn addresses(servers: &[String]) -> Result<Vec<IpAddr>, Status> {
    let parse = |text: &String| {
        text.parse()
            .map_err(|_| invalid(format!("name server {text:?} is not an address")))
    };
    servers.iter().map(parse).collect()
}

/// Returns `None` for an empty text: the message's way of leaving a field out.
pub(crate) fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
