//! Bytes on their way between containers, their logs and their clients.

use proto_shim::from_shim::Message;

use super::Shim;
use crate::container::exit::Surroundings;
use crate::container::{Container, Phase};
use crate::log::format::Stream;

impl Shim {
    /// Calls `work` with a container and everything around it.
    fn with_container<R>(
        &mut self,
        index: usize,
        work: impl FnOnce(&mut Container, &mut Surroundings<'_>) -> R,
    ) -> R {
        let mut around = Surroundings {
            clients: &mut self.clients,
            buffers: &mut self.buffers,
            poll: &self.poll,
            directory: &self.directory,
        };
        work(&mut self.containers[index], &mut around)
    }

    fn index_of(&self, serial: u32) -> Option<usize> {
        self.containers
            .iter()
            .position(|container| container.serial == serial)
    }

    pub(super) fn pass_output(&mut self, serial: u32, stream: Stream) {
        if let Some(index) = self.index_of(serial) {
            self.with_container(index, |container, around| {
                let (stdio, mut passage) = container.passage(around);
                stdio.pass_output(stream, &mut passage);
            });
            if matches!(self.containers[index].phase, Phase::Ended(_)) {
                self.settle(index);
            }
        } else {
            self.drop_session_output(serial, stream);
        }
    }

    pub(super) fn flush_input(&mut self, serial: u32) {
        if let Some(index) = self.index_of(serial) {
            self.with_container(index, |container, around| {
                let (stdio, mut passage) = container.passage(around);
                stdio.flush_input(&mut passage);
            });
        }
    }

    pub(super) fn pass_input(&mut self, client: u32) {
        let Some(container) = self.clients.find(client).map(|client| client.container) else {
            return;
        };
        match self.index_of(container) {
            Some(index) => self.with_container(index, |container, around| {
                let (stdio, mut passage) = container.passage(around);
                stdio.pass_input(client, &mut passage);
            }),
            None => self.clients.close_input(client, &self.poll),
        }
    }

    /// Writes an ended container's exit once its output is complete, and reports it.
    pub(super) fn settle(&mut self, index: usize) {
        if matches!(
            self.containers[index].phase,
            Phase::Running | Phase::Created(_)
        ) {
            let serial = self.containers[index].serial;
            self.containers[index].stdio.resume(serial, &self.poll);
            return;
        }
        let report = self.with_container(index, Container::settle);
        if let Some(report) = report {
            self.report(Message::ContainerExited(report));
        }
    }
}
