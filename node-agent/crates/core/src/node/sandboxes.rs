//! Verbs on sandboxes.

use std::sync::{Arc, PoisonError};

use agent_cgroup::Limits;
use agent_cni::CheckError;
use agent_selinux::Labels;
use agent_types::{Owner, SandboxId};
use tokio::sync::oneshot;

use super::Node;
use super::index::Found;
use crate::sandbox::actor::message::Command;
use crate::sandbox::actor::{self, Beginning, Reply, SandboxHandle};
use crate::sandbox::create;
use crate::sandbox::error::{EndError, RunError, StepError};
use crate::sandbox::spec::{NamespaceScope, SandboxRecord, SandboxSpec, SelinuxSpec};
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
        let name = spec.metadata.name.clone();
        let (reply, answer) = oneshot::channel();
        let (record, added) = self.add_record(spec, || Beginning::New { reply })?;
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

    /// Turns a request into facts and adds a task for them, unless the name is taken: then returns who
    /// has it.
    pub(super) fn add_record(
        &self,
        spec: SandboxSpec,
        beginning: impl FnOnce() -> Beginning,
    ) -> Result<(Arc<SandboxRecord>, Result<SandboxHandle, SandboxHandle>), RunError> {
        // Nobody else chooses a level before this one can be seen.
        let labelling = &self.services.labelling;
        let enabled = self.services.selinux.is_enabled();
        let _alone = enabled.then(|| labelling.lock().unwrap_or_else(PoisonError::into_inner));
        let record = Arc::new(SandboxRecord {
            id: self.new_sandbox_id(&spec)?,
            selinux: self.labels(&spec)?,
            spec,
            created_at: Timestamp::now(),
        });
        let (services, index) = (Arc::clone(&self.services), Arc::clone(&self.index));
        let added = self.index.add_sandbox(&record, || {
            actor::spawn(services, index, Arc::clone(&record), beginning())
        });
        Ok((record, added))
    }

    /// Returns the SELinux labels of a sandbox's containers. Without a wish, one that shares the host's
    /// processes has none.
    fn labels(&self, spec: &SandboxSpec) -> Result<Option<Labels>, RunError> {
        let wish = match &spec.selinux {
            SelinuxSpec::Unconfined => return Ok(None),
            SelinuxSpec::Wanted(wish) => wish,
        };
        let host = NamespaceScope::Host;
        if wish.is_empty() && (spec.pid == host || spec.ipc == host) {
            return Ok(None);
        }
        let is_taken = |level: &str| {
            let sandboxes = self.index.sandboxes(None);
            let mut labels = sandboxes
                .iter()
                .filter_map(|one| one.record.selinux.as_ref());
            labels.any(|labels| labels.level.as_deref() == Some(level))
        };
        let labels = self.services.selinux.for_pod(wish, is_taken);
        labels.map_err(|source| RunError::Selinux {
            name: spec.metadata.name.clone(),
            source,
        })
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
