//! The shim's event loop: one thread that waits for everything at once and never for one thing.
//!
//! Owns: the sandbox, its containers, sessions and clients, and the connection to an agent.
//! Does not: need an agent. Without one, logs are written on, exits are written down, time-outs
//! are enforced.
//! Start reading at [`Shim::serve`], then `requests`.

mod agent;
mod children;
mod passing;
mod requests;
mod runtimes;
mod sessions;
mod shutdown;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::attach::Clients;
use crate::buffers::Buffers;
use crate::connection::Connection;
use crate::container::Container;
use crate::directory::Directory;
use crate::exec::Session;
use crate::launch;
use crate::log::format::Stream;
use crate::poll::{Interest, Kind, Poll, Ready, Token};
use crate::sandbox::{Made, Sandbox};
use runtimes::Job;
use shutdown::Shutdown;

/// One sandbox's shim.
#[derive(Debug)]
pub(crate) struct Shim {
    sandbox: Sandbox,
    /// Where it goes back to from making a session.
    home: agent_runtime::Home,
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
    /// What other runtimes are doing.
    jobs: Vec<Job>,
    shutdown: Shutdown,
}

impl Shim {
    /// Takes over what was made for the sandbox, and tells the agent that it stands.
    ///
    /// An agent that has gone meanwhile never promised the sandbox to anybody, and the next one
    /// may have looked for it already: then there must be no shim, and this fails.
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
            home: agent_runtime::Home::default(),
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
            jobs: Vec::new(),
            shutdown: Shutdown::default(),
        };
        // What the launch itself left on the heap.
        shim.buffers.touch();
        shim.announce(made.netlink)
            .inspect_err(|_| shim.clear_away())?;
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
            Kind::ClientStdout => self.serve_client(serial, Stream::Stdout, event),
            Kind::ClientStderr => self.serve_client(serial, Stream::Stderr, event),
            Kind::Runtime => self.runtime_ended(serial),
        }
    }

    /// The next moment at which something is due without an event.
    fn deadline(&self) -> Option<Instant> {
        let containers = self.containers.iter().filter_map(Container::deadline);
        let sessions = self.sessions.iter().filter_map(Session::deadline);
        containers
            .chain(sessions)
            .chain(self.jobs.iter().filter_map(Job::deadline))
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
        self.time_out_runtimes(now);
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

    /// Ends, once the agent has its answer.
    fn take_leave(mut self) {
        if let Some(agent) = self.agent.take() {
            agent.close_flushed(&self.poll);
        }
    }
}
