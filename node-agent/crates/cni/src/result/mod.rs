//! What plugins made: interfaces, addresses, routes and name servers.
//!
//! Inside there is one form, that of 1.1.0; `parse` and `render` know the others.

mod parse;
mod render;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::version::{SpecVersion, UnknownVersion};

/// Why an answer to ADD is not a result.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// Not the JSON that a result is.
    #[error("it is not a result")]
    Json(#[source] serde_json::Error),
    /// JSON, but not an object.
    #[error("it is not an object")]
    Shape,
    /// It is in a version that nobody knows.
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    /// An address belongs to an interface that is not there.
    #[error("address {address} belongs to interface {index}, and there are {count}")]
    Interface {
        /// The address.
        address: IpNet,
        /// The index named.
        index: usize,
        /// Interfaces there are.
        count: usize,
    },
}

/// An interface of the sandbox or of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interface {
    pub(crate) name: String,
    /// The namespace it is in; empty for the host's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) sandbox: String,
    /// The hardware address, and what else was said.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// An address and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) address: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gateway: Option<IpAddr>,
    /// Index into the interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interface: Option<usize>,
}

/// A route inside the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    pub(crate) dst: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gw: Option<IpAddr>,
    /// What later versions say of it.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// Name resolution, as plugins answer it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains to search.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of resolv.conf(5).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// What plugins made for a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkResult {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) interfaces: Vec<Interface>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ips: Vec<Address>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<Route>,
    /// Name resolution that goes with the network.
    pub dns: Dns,
}

impl NetworkResult {
    /// Returns the addresses of the sandbox's interface of that name, in the plugins' order.
    ///
    /// Those that name no interface are the sandbox's; those of the host's interfaces are not.
    #[must_use]
    pub fn addresses_of(&self, interface: &str) -> Vec<IpAddr> {
        let ours = |address: &&Address| match address.interface {
            None => true,
            Some(index) => self
                .interfaces
                .get(index)
                .is_some_and(|found| found.name == interface && !found.sandbox.is_empty()),
        };
        let found = self.ips.iter().filter(ours);
        found.map(|address| address.address.addr()).collect()
    }
}

/// Returns an answer to ADD as the network's version has it; as it is where it is in that version.
pub(crate) fn in_version(answer: Value, version: SpecVersion) -> Result<Value, ResultError> {
    let result = NetworkResult::parse(&answer, version)?;
    let own = parse::version_of(&answer, version)?;
    if own == version && answer.get("cniVersion").is_some() {
        return Ok(answer);
    }
    Ok(result.render(version))
}

#[cfg(test)]
mod tests;
