//! The network that pods are joined to: whether it is ready, and telling its plugins who is gone.

use agent_network::Status;

use super::Node;
use crate::sandbox::network::plugins_join;
use crate::sandbox::spec::SandboxStateRecord;
use crate::services::blocking;

/// Whether pods can be joined to a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkCondition {
    /// They can; with what does not work as it should.
    Ready {
        /// Empty where everything does.
        warning: String,
    },
    /// They cannot.
    NotReady {
        /// Why.
        why: String,
    },
}

impl Node {
    /// Returns whether a kubelet's pods can be joined to a network now.
    ///
    /// Where plugins join them, the configuration directory is looked at, and the plugins are
    /// asked, at each call.
    pub async fn network_condition(&self) -> NetworkCondition {
        let services = &self.services;
        if !plugins_join(services) {
            let Status { warnings, .. } = services.network.status();
            return NetworkCondition::Ready {
                warning: warnings.into_iter().next().unwrap_or_default(),
            };
        }
        match services.cni.status().await {
            Ok(_) => NetworkCondition::Ready {
                warning: String::new(),
            },
            Err(error) => NetworkCondition::NotReady {
                why: agent_telemetry::chain(&error).to_string(),
            },
        }
    }

    /// Tells plugins which sandboxes there are, so that they forget all others.
    ///
    /// Left out while a sandbox is being joined: it may be one that the list does not have.
    pub(crate) async fn forget_gone(&self) {
        let services = &self.services;
        if !plugins_join(services) {
            return;
        }
        let Ok(_nobody_joins) = services.joining.try_write() else {
            return;
        };
        let store = std::sync::Arc::clone(&services.store);
        let loaded = blocking(move || store.load_all::<SandboxStateRecord>()).await;
        let Ok(Ok(states)) = loaded else { return };
        if !states.unreadable.is_empty() {
            // Somebody has these; who, is not known.
            return;
        }
        let states = states.records.into_iter();
        let valid: Vec<_> = states.filter_map(|(_, state)| Some(*state.cni?)).collect();
        for error in services.cni.gc(&valid).await {
            tracing::warn!(error = %agent_telemetry::chain(&error), "network plugin did not forget sandboxes that are gone");
        }
    }
}
