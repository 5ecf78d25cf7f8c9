//! What joins a sandbox to a network of plugins, as it is recorded.

use std::net::IpAddr;
use std::path::PathBuf;

use agent_types::SandboxId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::capability::Capabilities;
use crate::config::NetworkConfig;
use crate::error::PlanError;
use crate::result::NetworkResult;

/// Name of the interface that plugins make inside.
pub(crate) const INTERFACE: &str = "eth0";

/// The pod that a sandbox is, for plugins that look it up (`CNI_ARGS`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
}

/// A request to join a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachSpec {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The pod it is.
    pub pod: Pod,
    /// What is asked of plugins that can do it.
    pub capabilities: Capabilities,
}

/// How a sandbox is joined; alone it suffices to detach it after a restart.
///
/// It holds the configuration it was planned with: the one in the directory may be another by
/// the time the sandbox leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// Where its network namespace is pinned.
    pub netns: PathBuf,
    /// Name of the interface inside.
    pub interface: String,
    /// The network.
    pub network: NetworkConfig,
    /// What is asked of plugins.
    pub capabilities: Capabilities,
    /// Pairs for `CNI_ARGS`.
    pub(crate) args: Vec<(String, String)>,
    /// What the last plugin answered to ADD, in the network's version; `None` before.
    pub(crate) result: Option<Value>,
}

impl Attachment {
    /// Returns what the plugins made; nothing before they did.
    #[must_use]
    pub fn result(&self) -> Option<NetworkResult> {
        // It was read once before it was kept.
        NetworkResult::parse(self.result.as_ref()?, self.network.version).ok()
    }

    /// Returns the sandbox's own addresses, in the plugins' order.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.result()
            .map(|result| result.addresses_of(&self.interface))
            .unwrap_or_default()
    }
}

/// Returns the pairs that say which pod a sandbox is.
///
/// A value that would become a further pair is refused: names come from whoever makes pods.
pub(crate) fn args(sandbox: &SandboxId, pod: &Pod) -> Result<Vec<(String, String)>, PlanError> {
    let pairs = [
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", pod.namespace.as_str()),
        ("K8S_POD_NAME", pod.name.as_str()),
        ("K8S_POD_INFRA_CONTAINER_ID", sandbox.as_str()),
        ("K8S_POD_UID", pod.uid.as_str()),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| {
            let harmful = |c: char| matches!(c, ';' | '=') || c.is_control();
            if value.contains(harmful) {
                return Err(PlanError::Argument {
                    sandbox: sandbox.clone(),
                    key,
                    value: value.chars().take(128).collect(),
                });
            }
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Pod {
        Pod {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            uid: "u-1".to_owned(),
        }
    }

    #[test]
    fn a_pod_is_named_in_five_pairs() {
        let sandbox: SandboxId = "s1".parse().unwrap();
        let pairs = args(&sandbox, &pod("web-0")).unwrap();
        let text: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            text.join(";"),
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;\
             K8S_POD_INFRA_CONTAINER_ID=s1;K8S_POD_UID=u-1"
        );
    }

    #[test]
    fn a_name_that_would_be_a_further_pair_is_refused() {
        let sandbox: SandboxId = "s1".parse().unwrap();
        for bad in ["a;K8S_POD_NAMESPACE=kube-system", "a=b", "a\nb", "a\0"] {
            assert!(args(&sandbox, &pod(bad)).is_err(), "{bad:?}");
        }
    }
}
