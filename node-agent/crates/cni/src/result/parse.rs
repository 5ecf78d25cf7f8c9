//! Results as each version writes them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::{Address, Dns, NetworkResult, ResultError, Route};
use crate::version::SpecVersion;

/// A result of 0.1.0 and 0.2.0.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct First {
    ip4: Option<FirstFamily>,
    ip6: Option<FirstFamily>,
    dns: Dns,
}

#[derive(Deserialize)]
struct FirstFamily {
    ip: IpNet,
    #[serde(default)]
    gateway: Option<IpAddr>,
    #[serde(default)]
    routes: Vec<Route>,
}

/// Returns the version an answer says it is in, or that of its network.
pub(super) fn version_of(answer: &Value, network: SpecVersion) -> Result<SpecVersion, ResultError> {
    match answer.get("cniVersion").and_then(Value::as_str) {
        None | Some("") => Ok(network),
        Some(text) => Ok(SpecVersion::parse(text)?),
    }
}

/// Some plugins write a list that is empty as `null`.
fn without_nulls(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Value::Object(members) = &mut answer {
        members.retain(|_, value| !value.is_null());
    }
    answer
}

impl NetworkResult {
    /// Reads an answer to ADD, whichever version it is in; one that does not say is in `network`'s.
    ///
    /// # Errors
    /// When it is not a result of any version.
    pub(crate) fn parse(answer: &Value, network: SpecVersion) -> Result<Self, ResultError> {
        if !answer.is_object() {
            return Err(ResultError::Shape);
        }
        let version = version_of(answer, network)?;
        let answer = &without_nulls(answer);
        let result = if version < SpecVersion::V0_3_0 {
            First::deserialize(answer)
                .map(Self::from)
                .map_err(ResultError::Json)?
        } else {
            // Since 1.0.0 an address has no "version"; before, it only repeats what it shows.
            Self::deserialize(answer).map_err(ResultError::Json)?
        };
        let count = result.interfaces.len();
        for address in &result.ips {
            if let Some(index) = address.interface.filter(|index| *index >= count) {
                return Err(ResultError::Interface {
                    address: address.address,
                    index,
                    count,
                });
            }
        }
        Ok(result)
    }
}

impl From<First> for NetworkResult {
    fn from(first: First) -> Self {
        let mut result = Self {
            dns: first.dns,
            ..Self::default()
        };
        for family in [first.ip4, first.ip6].into_iter().flatten() {
            result.ips.push(Address {
                address: family.ip,
                gateway: family.gateway,
                interface: None,
            });
            result.routes.extend(family.routes);
        }
        result
    }
}
