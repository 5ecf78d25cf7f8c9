//! Containers that a sandbox gets.

use std::sync::Arc;

use agent_types::ContainerId;

use super::Actor;
use super::message::{Done, Reply};
use super::slot::{Creating, answer};
use crate::container::CreateError;
use crate::container::create::{self, Made, Wanted};
use crate::container::pid;
use crate::container::spec::ContainerSpec;
use crate::event::Action;
use crate::sandbox::state::SandboxPhase;

impl Actor {
    pub(super) fn create_container(
        &mut self,
        id: ContainerId,
        spec: ContainerSpec,
        reply: Reply<ContainerId, CreateError>,
    ) {
        if let Err(error) = self.admits_containers() {
            drop(reply.send(Err(Arc::new(error))));
            return;
        }
        if let Some((holder, same)) = self.holder(&spec) {
            let answer = if same {
                Ok(holder)
            } else {
                Err(Arc::new(CreateError::NameTaken {
                    name: spec.metadata.name,
                    holder,
                }))
            };
            drop(reply.send(answer));
            return;
        }
        let in_flight = self
            .creating
            .iter_mut()
            .find(|creating| creating.spec.metadata == spec.metadata);
        if let Some(creating) = in_flight {
            if creating.spec == spec {
                creating.waiters.push(reply);
            } else {
                let error = CreateError::NameTaken {
                    name: spec.metadata.name,
                    holder: creating.id.clone(),
                };
                drop(reply.send(Err(Arc::new(error))));
            }
            return;
        }
        let wanted = match self.pid_of(&spec) {
            Ok(pid_of) => Wanted {
                spec: spec.clone(),
                pid_of,
            },
            Err(error) => {
                drop(reply.send(Err(Arc::new(error))));
                return;
            }
        };
        self.creating.push(Creating {
            id: id.clone(),
            spec,
            waiters: vec![reply],
        });
        let (services, sandbox) = (Arc::clone(&self.services), Arc::clone(&self.record));
        let live = self.live.clone();
        self.spawn(async move {
            let result =
                create::create(&services, &sandbox, live.as_deref(), id.clone(), wanted).await;
            Done::Created(id, result)
        });
    }

    /// Refuses a new container where the sandbox does not stand.
    fn admits_containers(&self) -> Result<(), CreateError> {
        let may = match self.phase {
            SandboxPhase::Ready => true,
            SandboxPhase::NotReady => self.is_local(),
            SandboxPhase::Creating | SandboxPhase::Stopping | SandboxPhase::Removing => false,
        };
        if may {
            return Ok(());
        }
        Err(CreateError::SandboxPhase {
            sandbox: self.record.id.to_string(),
            phase: self.phase.as_str(),
        })
    }

    /// Returns the container whose PID namespace a new one has to join, if it does.
    fn pid_of(&self, spec: &ContainerSpec) -> Result<Option<ContainerId>, CreateError> {
        let Some(target) = &spec.pid_target else {
            return Ok(None);
        };
        let name = || spec.metadata.name.clone();
        let found = self.slots.iter().find(|(id, _)| id.as_str() == target);
        let (id, slot) = found.ok_or_else(|| CreateError::NoTarget {
            name: name(),
            target: target.clone(),
            sandbox: self.record.id.clone(),
        })?;
        if !slot.is_running() {
            return Err(CreateError::TargetNotRunning {
                name: name(),
                target: id.clone(),
            });
        }
        Ok(pid::shared_with(&self.record.spec, &slot.record))
    }

    /// Returns who has the name, and whether it was made by an equal request.
    fn holder(&self, spec: &ContainerSpec) -> Option<(ContainerId, bool)> {
        self.slots
            .values()
            .find(|slot| slot.record.spec.metadata == spec.metadata)
            .map(|slot| (slot.record.id.clone(), slot.record.spec == *spec))
    }

    pub(super) fn created(&mut self, id: &ContainerId, result: Result<Made, CreateError>) {
        let Some(position) = self.creating.iter().position(|one| one.id == *id) else {
            return;
        };
        let mut creating = self.creating.swap_remove(position);
        match result {
            Ok(mut made) => {
                let images = std::mem::take(&mut made.images);
                self.insert(made.into());
                self.tell_container(id, Action::Create, Vec::new());
                self.publish();
                // From here on it is seen that they are used.
                drop(images);
                answer(&mut creating.waiters, &Ok(id.clone()));
            }
            Err(error) => answer(&mut creating.waiters, &Err(Arc::new(error))),
        }
        if self.phase == SandboxPhase::NotReady || self.phase == SandboxPhase::Removing {
            self.drive_removal();
        }
    }
}
