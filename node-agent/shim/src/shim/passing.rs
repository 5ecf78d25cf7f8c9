//! Bytes on their way between containers, their logs and their clients.

use std::time::Instant;

use proto_shim::from_shim::Message;

use super::Shim;
use crate::container::exit::Surroundings;
use crate::container::{Container, Phase};
use crate::log::format::Stream;
use crate::poll::Ready;

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

    pub(super) fn index_of(&self, serial: u32) -> Option<usize> {
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

    /// An attach client has room for `stream` again, or its reader has gone.
    pub(super) fn serve_client(&mut self, client: u32, stream: Stream, event: Ready) {
        if event.readable {
            self.clients.hang_up(client, stream, &self.poll);
        } else {
            self.clients.flush(client, stream, &self.poll);
        }
        self.release_outputs();
    }

    /// Reads the outputs on that have waited for clients, where none lags behind any more.
    pub(super) fn release_outputs(&mut self) {
        for index in 0..self.containers.len() {
            if self.containers[index].stdio.is_held() {
                self.with_container(index, |container, around| {
                    let (stdio, mut passage) = container.passage(around);
                    stdio.release(&mut passage);
                });
            }
        }
    }

    /// Writes an ended container's exit once its output is complete, and reports it.
    pub(super) fn settle(&mut self, index: usize) {
        if self.containers[index].is_alive() {
            self.with_container(index, |container, around| {
                let (stdio, mut passage) = container.passage(around);
                stdio.catch_up(Instant::now(), &mut passage);
            });
            return;
        }
        let report = self.with_container(index, Container::settle);
        if let Some(report) = report {
            self.report(Message::ContainerExited(report));
            self.let_go_of(index);
        }
    }

    /// Has what hooks have made for a container undone as soon as it has ended: it may be long until
    /// it is removed.
    fn let_go_of(&mut self, index: usize) {
        if self.containers[index].hooked.is_none() {
            return;
        }
        let mut container = self.containers.swap_remove(index);
        self.begin_to_forget(None, &mut container);
        self.containers.push(container);
    }
}
