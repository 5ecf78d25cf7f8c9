//! The shim's event loop: one thread that waits for everything at once and never for one thing.
//!
//! Owns: the sandbox, its containers, sessions and clients, and the connection to an agent.
//! Does not: need an agent. Without one, logs are written on, exits are written down, time-outs
//! are enforced.
//! Start reading at [`Shim::serve`], then `requests`.

mod agent;
mod children;
mod requests;
mod sessions;
mod shutdown;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Instant;

use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::attach::Clients;
use crate::buffers::Buffers;
use crate::connection::Connection;
use crate::container::exit::Surroundings;
use crate::container::{Container, Phase};
use crate::directory::Directory;
use crate::exec::Session;
use crate::launch;
use crate::log::format::Stream;
use crate::poll::{Interest, Kind, Poll, Ready, Token};
use crate::sandbox::{Made, Sandbox};
use shutdown::Shutdown;

/// One sandbox's shim.
#[derive(Debug)]
pub(crate) struct Shim {
    sandbox: Sandbox,
    directory: Directory,
    poll: Poll,
    buffers: Buffers,
    listener: OwnedFd,
    signals: SignalFd,
    /// The agent that is served.
    agent: Option<Connection>,
    /// One that has connected and not said hello yet.
    candidate: Option<Connection>,
    containers: Vec<Container>,
    sessions: Vec<Session>,
    clients: Clients,
    shutdown: Shutdown,
}

impl Shim {
    /// Takes over what was made for the sandbox, and tells the agent that it stands.
    pub(crate) fn new(
        made: Made,
        directory: Directory,
        listener: OwnedFd,
        agent: OwnedFd,
    ) -> io::Result<Self> {
        let mut poll = Poll::new()?;
        let signals = launch::blocked_signals();
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&signals, flags)?;
        poll.add(&signals, Token::new(Kind::Signals, 0), Interest::Readable)?;
        poll.add(&listener, Token::new(Kind::Listener, 0), Interest::Readable)?;
        crate::pipes::set_nonblocking(&agent)?;
        let agent = Connection::new(agent, &mut poll)?;
        let mut shim = Self {
            sandbox: made.sandbox,
            directory,
            poll,
            buffers: Buffers::new(),
            listener,
            signals,
            agent: Some(agent),
            candidate: None,
            containers: Vec::new(),
            sessions: Vec::new(),
            clients: Clients::default(),
            shutdown: Shutdown::default(),
        };
        // What the launch itself left on the heap.
        shim.buffers.touch();
        shim.announce(made.netlink)?;
        Ok(shim)
    }

    /// Serves until told to end.
    pub(crate) fn serve(mut self) {
        let mut ready = Vec::new();
        while !self.shutdown.is_over() {
            // The epoll descriptor is ours and sound, so this fails for want of memory at most.
            if self.poll.wait(self.deadline(), &mut ready).is_err() {
                rustix::thread::sched_yield();
            }
            for event in ready.drain(..) {
                self.handle(event);
            }
            self.look_at_the_clock();
            self.check_shutdown(Instant::now());
        }
        self.take_leave();
    }

    fn handle(&mut self, event: Ready) {
        let Token { kind, serial } = event.token;
        match kind {
            Kind::Listener => self.accept(),
            Kind::Signals => self.reap_children(),
            Kind::Agent => self.talk(serial, event),
            Kind::Stdout => self.pass_output(serial, Stream::Stdout),
            Kind::Stderr => self.pass_output(serial, Stream::Stderr),
            Kind::Input => self.flush_input(serial),
            Kind::ClientInput => self.pass_input(serial),
            Kind::ClientStdout => self.clients.hang_up(serial, Stream::Stdout, &self.poll),
            Kind::ClientStderr => self.clients.hang_up(serial, Stream::Stderr, &self.poll),
        }
    }

    /// The next moment at which something is due without an event.
    fn deadline(&self) -> Option<Instant> {
        let containers = self.containers.iter().filter_map(Container::deadline);
        let sessions = self.sessions.iter().filter_map(Session::deadline);
        containers
            .chain(sessions)
            .chain(self.buffers.deadline())
            .chain(self.shutdown.deadline())
            .min()
    }

    fn look_at_the_clock(&mut self) {
        let Some(due) = self.deadline() else { return };
        let now = Instant::now();
        if now < due {
            return;
        }
        self.time_out_sessions(now);
        for index in 0..self.containers.len() {
            if self.containers[index]
                .deadline()
                .is_some_and(|due| now >= due)
            {
                self.settle(index);
            }
        }
        if self.buffers.deadline().is_some_and(|due| now >= due) {
            self.buffers.release();
        }
    }

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

    fn pass_output(&mut self, serial: u32, stream: Stream) {
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

    fn flush_input(&mut self, serial: u32) {
        if let Some(index) = self.index_of(serial) {
            self.with_container(index, |container, around| {
                let (stdio, mut passage) = container.passage(around);
                stdio.flush_input(&mut passage);
            });
        }
    }

    fn pass_input(&mut self, client: u32) {
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
    fn settle(&mut self, index: usize) {
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
            self.report(proto_shim::from_shim::Message::ContainerExited(report));
        }
    }

    /// Ends: nobody is to find the shim any more, and the agent has its answer.
    fn take_leave(mut self) {
        if let Some(reaper) = self.sandbox.reaper() {
            let _ = agent_sys::signal::send(reaper.pidfd.as_fd(), 9);
            crate::pipes::wait_for(&reaper.pidfd);
        }
        self.directory.remove_socket();
        if let Some(agent) = self.agent.take() {
            agent.close_flushed(&self.poll);
        }
    }
}
