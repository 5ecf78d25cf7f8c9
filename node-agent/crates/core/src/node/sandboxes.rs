//! Verbs on sandboxes.

use std::sync::Arc;

use agent_cgroup::Limits;
use agent_cni::CheckError;
use agent_types::{Owner, SandboxId};
use tokio::sync::oneshot;

use super::Node;
use super::index::Found;
use crate::sandbox::actor::message::Command;
use crate::sandbox::actor::{self, Beginning, Reply, SandboxHandle};
use crate::sandbox::create;
use crate::sandbox::error::{EndError, RunError, StepError};
use crate::sandbox::spec::{SandboxRecord, SandboxSpec};
use crate::sandbox::state::SandboxPhase;
use crate::sandbox::view::SandboxView;
use crate::services::Interrupted;
use crate::time::Timestamp;

impl Node {
    /// Makes a sandbox and returns its id. A repeated request attaches to the one in flight, or
    /// returns the id of the one that stands.
    ///
    /// # Errors
    /// [`RunError::NameTaken`] when a different request holds the name; otherwise what was
    /// refused or failed. Nothing is left behind then.
    pub async fn run_sandbox(&self, spec: SandboxSpec) -> Result<SandboxId, Arc<RunError>> {
        create::check(&self.services, &spec)?;
        let record = Arc::new(SandboxRecord {
            id: self.new_sandbox_id(&spec)?,
            spec,
            created_at: Timestamp::now(),
        });
        let name = record.spec.metadata.name.clone();
        let (services, index) = (Arc::clone(&self.services), Arc::clone(&self.index));
        let (reply, answer) = oneshot::channel();
        let added = self.index.add_sandbox(&record, || {
            actor::spawn(
                services,
                index,
                Arc::clone(&record),
                Beginning::New { reply },
            )
        });
        let (id, up) = match added {
            Ok(handle) => (handle.record.id.clone(), answer.await.ok()),
            Err(holder) if holder.record.spec == record.spec => {
                let up = ask(&holder, |reply| Command::WaitUp { reply }).await;
                (holder.record.id.clone(), up)
            }
            Err(holder) => {
                let holder = holder.record.id.clone();
                return Err(Arc::new(RunError::NameTaken { name, holder }));
            }
        };
        let interrupted = || {
            Arc::new(RunError::Step {
                id: id.clone(),
                source: Box::new(StepError::Interrupted(Interrupted)),
            })
        };
        up.ok_or_else(interrupted)??;
        Ok(id)
    }

    pub(super) fn new_sandbox_id(&self, spec: &SandboxSpec) -> Result<SandboxId, RunError> {
        crate::random::bytes()
            .map(SandboxId::from_random)
            .map_err(|source| RunError::Random {
                name: spec.metadata.name.clone(),
                source,
            })
    }

    fn find_sandbox(&self, owner: Owner, id: &str) -> Result<SandboxHandle, EndError> {
        match self.index.sandbox(owner, id) {
            Found::One(handle) => Ok(handle),
            Found::None => Err(EndError::NotFound { id: id.to_owned() }),
            Found::Many => Err(EndError::Ambiguous { id: id.to_owned() }),
        }
    }

    /// Ends every container of a sandbox and gives its network back. May be repeated.
    ///
    /// # Errors
    /// [`EndError::NotFound`], or what could not be ended; another call tries again.
    pub async fn stop_sandbox(&self, owner: Owner, id: &str) -> Result<(), Arc<EndError>> {
        let handle = self.find_sandbox(owner, id)?;
        ask(&handle, |reply| Command::Stop { reply })
            .await
            .unwrap_or(Ok(()))
    }

    /// Tries again to end what earlier stops have left.
    pub(crate) async fn retry_tear_downs(&self) {
        for handle in self.index.sandboxes(None) {
            // A failure is in the log.
            drop(ask(&handle, |reply| Command::EndLeftover { reply }).await);
        }
    }

    /// Stops a sandbox and removes it with its containers. May be repeated.
    ///
    /// # Errors
    /// As [`Node::stop_sandbox`].
    pub async fn remove_sandbox(&self, owner: Owner, id: &str) -> Result<(), Arc<EndError>> {
        let handle = self.find_sandbox(owner, id)?;
        ask(&handle, |reply| Command::Remove { reply })
            .await
            .unwrap_or(Ok(()))
    }

    /// Changes what a pod as a whole may use: all of it, or nothing.
    ///
    /// # Errors
    /// What was refused; the limits are as they were then.
    pub async fn update_sandbox_resources(
        &self,
        owner: Owner,
        id: &str,
        limits: Limits,
    ) -> Result<(), crate::sandbox::UpdateError> {
        let view = self.sandbox(owner, id);
        let view = view.map_err(|source| crate::sandbox::UpdateError::Find { source })?;
        crate::sandbox::update::apply(&self.services, &view, limits).await
    }

    /// Returns what can be seen of a sandbox.
    ///
    /// # Errors
    /// [`EndError::NotFound`] and [`EndError::Ambiguous`].
    pub fn sandbox(&self, owner: Owner, id: &str) -> Result<Arc<SandboxView>, EndError> {
        let view = self.find_sandbox(owner, id)?.view();
        if is_listed(&view) {
            Ok(view)
        } else {
            Err(EndError::NotFound { id: id.to_owned() })
        }
    }

    /// Has network plugins check that a sandbox is still joined as they have joined it; `None` where
    /// no plugins have.
    ///
    /// Only where somebody looks into one sandbox: plugins are programs, and some of them fail at this.
    pub async fn check_network(&self, view: &SandboxView) -> Option<Result<(), CheckError>> {
        let attachment = view.live.as_ref()?.cni.as_deref()?;
        Some(self.services.cni.check(attachment).await)
    }

    /// Returns what can be seen of all of an owner's sandboxes; never waits for any of them.
    #[must_use]
    pub fn sandboxes(&self, owner: Owner) -> Vec<Arc<SandboxView>> {
        self.index
            .sandboxes(Some(owner))
            .iter()
            .map(SandboxHandle::view)
            .filter(|view| is_listed(view))
            .collect()
    }
}

/// A sandbox that is not made yet is nobody's to see; a person's is seen through its container.
fn is_listed(view: &SandboxView) -> bool {
    view.phase != SandboxPhase::Creating || view.record.spec.owner == Owner::Local
}

/// Asks a sandbox's task; `None` when it ended before it could answer: the sandbox is gone.
pub(super) async fn ask<T, E>(
    handle: &SandboxHandle,
    command: impl FnOnce(Reply<T, E>) -> Command,
) -> Option<Result<T, Arc<E>>> {
    let (reply, answer) = oneshot::channel();
    handle.commands.send(command(reply).into()).await.ok()?;
    answer.await.ok()
}
