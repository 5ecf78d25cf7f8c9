//! Whose processes a container sees. Pure.

use agent_types::ContainerId;

use super::spec::{ContainerRecord, ContainerSpec};
use crate::sandbox::spec::{NamespaceScope, SandboxSpec};

/// The PID namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PidNamespace {
    /// Its own.
    Own,
    /// Its sandbox's shared one.
    Sandbox,
    /// The host's.
    Host,
    /// Another container's.
    Of(ContainerId),
}

impl From<NamespaceScope> for PidNamespace {
    fn from(scope: NamespaceScope) -> Self {
        match scope {
            NamespaceScope::Container => Self::Own,
            NamespaceScope::Sandbox => Self::Sandbox,
            NamespaceScope::Host => Self::Host,
        }
    }
}

/// Returns whose PID namespace a container is in: its sandbox's choice, unless it wants its own
/// or shares another container's.
pub(crate) fn of(sandbox: &SandboxSpec, record: &ContainerRecord) -> PidNamespace {
    match &record.pid_of {
        Some(container) => PidNamespace::Of(container.clone()),
        None => wished(sandbox, &record.spec).into(),
    }
}

fn wished(sandbox: &SandboxSpec, spec: &ContainerSpec) -> NamespaceScope {
    match spec.pid {
        Some(NamespaceScope::Container) => NamespaceScope::Container,
        // The host's is its sandbox's to give, and was refused otherwise.
        Some(NamespaceScope::Sandbox | NamespaceScope::Host) | None => sandbox.pid,
    }
}

/// Returns the container to join for whoever wants to share `target`'s PID namespace; `None` where
/// that is their sandbox's or the host's, which the sandbox gives to both.
pub(crate) fn shared_with(sandbox: &SandboxSpec, target: &ContainerRecord) -> Option<ContainerId> {
    match of(sandbox, target) {
        PidNamespace::Own | PidNamespace::Of(_) => Some(target.id.clone()),
        PidNamespace::Sandbox | PidNamespace::Host => None,
    }
}
