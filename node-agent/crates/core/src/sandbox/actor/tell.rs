//! What a sandbox's task tells the world: what is to be seen, and what happened.

use std::sync::Arc;

use agent_types::ContainerId;

use super::Actor;
use super::slot::Slot;
use crate::event::{Action, Event, Subject};
use crate::sandbox::view::SandboxView;
use crate::time::Timestamp;

impl Actor {
    pub(super) fn publish(&self) {
        self.view.send_replace(Arc::new(self.seen()));
    }

    fn seen(&self) -> SandboxView {
        SandboxView {
            record: Arc::clone(&self.record),
            phase: self.phase,
            live: self.live.clone(),
            containers: self
                .order
                .iter()
                .filter_map(|id| self.slots.get(id))
                .map(Slot::view)
                .collect(),
            kept_addresses: Vec::new(),
        }
    }

    pub(super) fn tell_container(
        &self,
        id: &ContainerId,
        action: Action,
        extra: Vec<(&'static str, String)>,
    ) {
        let attributes = self.attributes_of(id, extra);
        self.tell(Subject::Container, action, id.as_str(), attributes);
    }

    pub(super) fn attributes_of(
        &self,
        id: &ContainerId,
        mut extra: Vec<(&'static str, String)>,
    ) -> Vec<(&'static str, String)> {
        if let Some(slot) = self.slots.get(id) {
            let spec = &slot.record.spec;
            extra.push(("image", spec.image.clone()));
            if !self.is_local() {
                extra.push(("container", spec.metadata.name.clone()));
            }
        }
        extra
    }

    pub(super) fn tell(
        &self,
        subject: Subject,
        action: Action,
        id: &str,
        extra: Vec<(&'static str, String)>,
    ) {
        if !self.services.events.is_heard() {
            return;
        }
        let mut attributes = vec![("name", self.record.spec.metadata.name.clone())];
        attributes.extend(extra);
        self.services.events.tell(Event {
            time: Timestamp::now(),
            subject,
            action,
            id: id.to_owned(),
            owner: Some(self.record.spec.owner),
            attributes,
            sandbox: Some(Arc::new(self.seen().detached())),
        });
    }
}
