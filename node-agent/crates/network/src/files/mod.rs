//! What stands in a sandbox's /etc/resolv.conf and /etc/hosts, as pure functions.

mod hosts;
mod resolv_conf;

use agent_types::{Classify, ErrorKind};

pub use hosts::{HostsSpec, hosts};
pub use resolv_conf::{DnsSpec, HostResolver, names_only_loopback, resolv_conf};

/// A value that would break out of its line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is empty or has spaces or control characters")]
pub struct LineError {
    /// What the value is.
    pub what: &'static str,
    /// The refused value, cut to 200 characters.
    pub value: String,
}

impl Classify for LineError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Returns `value` where it is one word: these files have no quoting.
fn word<'a>(what: &'static str, value: &'a str) -> Result<&'a str, LineError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '#';
    if value.is_empty() || value.contains(bad) {
        return Err(LineError {
            what,
            value: value.chars().take(200).collect(),
        });
    }
    Ok(value)
}
