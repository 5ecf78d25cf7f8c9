//! What the agent says, in docker's words.
//!
//! Owns: the fields of `ps`, `images`, `inspect`, `version` and `info`, by the names
//! that docker's users know. Does not: choose a format, or ask the agent.
//! Start reading at `container.rs`.

pub(crate) mod container;
pub(crate) mod container_detail;
pub(crate) mod image;
pub(crate) mod node;
pub(crate) mod ports;
pub(crate) mod reference;

use std::collections::{BTreeMap, HashMap};

/// Returns the first twelve digits of an id.
pub(crate) fn short_id(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

/// Returns labels as `a=1,b=2`, in order.
pub(crate) fn label_list(labels: &HashMap<String, String>) -> String {
    let labels: Vec<_> = sorted(labels)
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    labels.join(",")
}

/// Returns a map in the order of its keys.
pub(crate) fn sorted(map: &HashMap<String, String>) -> BTreeMap<&String, &String> {
    map.iter().collect()
}
