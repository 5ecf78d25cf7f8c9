//! A person's containers: each in a sandbox of its own, made when it starts.

use std::sync::Arc;

use agent_types::{Classify, ContainerId, ErrorKind, Owner, SandboxId};

use super::Node;
use super::index::Found;
use super::sandboxes::ask;
use crate::container::CreateError;
use crate::container::spec::ContainerSpec;
use crate::sandbox::actor::Beginning;
use crate::sandbox::actor::message::Command;
use crate::sandbox::create::{self, durability};
use crate::sandbox::error::RunError;
use crate::sandbox::files;
use crate::sandbox::spec::{SandboxNetwork, SandboxSpec};
use crate::services::Interrupted;

/// What a person's container is to be; its sandbox has the container's name.
#[derive(Debug, Clone)]
pub struct LocalSpec {
    /// Its namespaces and network.
    pub sandbox: SandboxSpec,
    /// The container itself.
    pub container: ContainerSpec,
}

/// Why a person's container could not be created.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Another container has the name.
    #[error("name {name:?} is taken by container {holder}")]
    NameTaken {
        /// The name asked for.
        name: String,
        /// Who has it.
        holder: String,
    },
    /// Its sandbox is refused.
    #[error(transparent)]
    Sandbox(Arc<RunError>),
    /// The container is refused, or could not be made.
    #[error(transparent)]
    Container(Arc<CreateError>),
    /// Its record was not written.
    #[error("container {name:?} was not saved")]
    Save {
        /// Its name.
        name: String,
        /// Why.
        source: agent_store::SaveError,
    },
    /// The agent is going down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for LocalError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NameTaken { .. } => ErrorKind::AlreadyExists,
            Self::Sandbox(source) => source.kind(),
            Self::Container(source) => source.kind(),
            Self::Save { source, .. } => source.kind(),
            Self::Interrupted(source) => source.kind(),
        }
    }
}

impl Node {
    /// Creates a person's container and returns its id; nothing runs, and no address is taken.
    /// A caller that goes away leaves it whole or not there.
    ///
    /// # Errors
    /// What was refused or failed; nothing is left behind then.
    pub async fn create_local(&self, spec: LocalSpec) -> Result<ContainerId, LocalError> {
        let node = self.clone();
        tokio::spawn(async move { node.make_local(spec).await })
            .await
            .unwrap_or(Err(LocalError::Interrupted(Interrupted)))
    }

    async fn make_local(&self, mut spec: LocalSpec) -> Result<ContainerId, LocalError> {
        self.share_hostname(&mut spec.sandbox);
        let refused = |error| LocalError::Sandbox(Arc::new(error));
        create::check(&self.services, &spec.sandbox).map_err(refused)?;
        let beginning = || Beginning::Resting {
            leftover: None,
            containers: Vec::new(),
        };
        let added = self.add_record(spec.sandbox, beginning);
        let (record, added) = added.map_err(refused)?;
        let name = record.spec.metadata.name.clone();
        let handle = added.map_err(|holder| LocalError::NameTaken {
            name: name.clone(),
            holder: holder.record.id.short().to_owned(),
        })?;
        let saved = self
            .services
            .store
            .save(
                durability(Owner::Local),
                record.id.as_str(),
                record.as_ref(),
            )
            .await;
        let created = match saved {
            Ok(()) => ask(&handle, |reply| Command::CreateContainer {
                id: same_id(&record.id),
                spec: Box::new(spec.container),
                reply,
            })
            .await
            .unwrap_or_else(|| Err(Arc::new(Interrupted.into())))
            .map_err(LocalError::Container),
            Err(source) => Err(LocalError::Save { name, source }),
        };
        if created.is_err() {
            // The sandbox has nothing but its record; its own failure is in the log.
            let removed = ask(&handle, |reply| Command::Remove { reply }).await;
            drop(removed);
        }
        created
    }

    /// Who shares another's network goes by its name there, unless it was given one.
    fn share_hostname(&self, spec: &mut SandboxSpec) {
        if let SandboxNetwork::Container(other) = &spec.network
            && spec.hostname.is_empty()
            && let Found::One((_, handle)) = self.index.container(Owner::Local, other.as_str())
        {
            spec.hostname = files::hostname(&handle.record);
        }
    }

    /// Returns the sandbox that a container of any owner is in, as `container:` network names it.
    #[must_use]
    pub fn container_for_network(&self, text: &str) -> Option<ContainerId> {
        match self.find(Owner::Local, text) {
            Found::One((id, _)) => Some(id),
            Found::None | Found::Many => None,
        }
    }
}

/// A person's container and its sandbox go by one id.
fn same_id(id: &SandboxId) -> ContainerId {
    ContainerId::from(id)
}
