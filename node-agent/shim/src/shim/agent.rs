//! Agents coming and going.

use std::io;
use std::os::fd::OwnedFd;

use proto_shim::{
    FdRole, PROTOCOL_VERSION, Ready, Reply, from_shim::Message, reply, request::Call,
};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::PidfdFlags;

use super::Shim;
use crate::connection::{Connection, Gone};
use crate::poll;

/// Requests of one agent served before others get their turn.
const REQUESTS_PER_TURN: u32 = 16;

type Descriptors = Vec<(FdRole, OwnedFd)>;

impl Shim {
    /// Tells the agent that launched this shim that the sandbox stands.
    pub(super) fn announce(&mut self, netlink: Option<OwnedFd>) -> io::Result<()> {
        let (ready, mut fds) = self.ready()?;
        if let Some(netlink) = netlink {
            fds.push((FdRole::NetlinkSocket, netlink));
        }
        if let Some(agent) = &mut self.agent {
            agent
                .send(Message::Ready(ready), fds, &self.poll)
                .map_err(|Gone| io::ErrorKind::BrokenPipe)?;
        }
        Ok(())
    }

    /// Returns what a new agent needs to know.
    fn ready(&self) -> io::Result<(Ready, Descriptors)> {
        let pid = rustix::process::getpid();
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        let mut fds = vec![(FdRole::ShimPidfd, pidfd)];
        if let Some(network) = self.sandbox.own_network() {
            fds.push((FdRole::NetworkNamespace, network?));
        }
        if let Some(user) = self.sandbox.user() {
            fds.push((FdRole::UserNamespace, user.fd.try_clone_to_owned()?));
        }
        let ready = Ready {
            protocol_version: PROTOCOL_VERSION,
            pid: pid.as_raw_nonzero().get(),
            containers: self
                .containers
                .iter()
                .map(super::Container::report)
                .collect(),
            reaper_pid: self.sandbox.reaper().map_or(0, |reaper| reaper.pid),
        };
        Ok((ready, fds))
    }

    /// Takes a connection; it becomes the agent's with its first message.
    pub(super) fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = loop {
            match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => break socket,
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        };
        // The mode of the socket says the same; this holds even if somebody changed it.
        let root = rustix::net::sockopt::socket_peercred(&socket)
            .is_ok_and(|peer| peer.uid == rustix::process::Uid::ROOT);
        if !root {
            return;
        }
        if let Ok(connection) = Connection::new(socket, &mut self.poll)
            && let Some(older) = self.candidate.replace(connection)
        {
            older.close(&self.poll);
        }
    }

    /// Exchanges messages with an agent.
    pub(super) fn talk(&mut self, serial: u32, event: poll::Ready) {
        if self
            .candidate
            .as_ref()
            .is_some_and(|candidate| candidate.serial == serial)
        {
            self.hear_candidate();
            return;
        }
        for _ in 0..REQUESTS_PER_TURN {
            let Some(agent) = self.agent.as_mut().filter(|agent| agent.serial == serial) else {
                return;
            };
            let flushed = agent.flush(&self.poll);
            let next = match flushed {
                Ok(()) if event.readable => agent.next(),
                Ok(()) => return,
                Err(Gone) => Err(Gone),
            };
            match next {
                Ok(Some(received)) => {
                    self.buffers.touch();
                    self.serve_request(received);
                }
                Ok(None) => return,
                Err(Gone) => {
                    self.agent_gone();
                    return;
                }
            }
        }
    }

    fn hear_candidate(&mut self) {
        let Some(candidate) = &mut self.candidate else {
            return;
        };
        let request = match candidate.next() {
            Ok(None) => return,
            Ok(Some(received)) => received.request,
            Err(Gone) => {
                if let Some(candidate) = self.candidate.take() {
                    candidate.close(&self.poll);
                }
                return;
            }
        };
        let Some(candidate) = self.candidate.take() else {
            return;
        };
        if !matches!(request.call, Some(Call::Hello(_))) {
            candidate.close(&self.poll);
            return;
        }
        // The newer replaces the older, whose clients end with it.
        self.agent_gone();
        self.agent = Some(candidate);
        let Ok((ready, fds)) = self.ready() else {
            self.agent_gone();
            return;
        };
        self.reply(request.id, reply::Result::Ready(ready), fds);
    }

    /// Lets go of an agent; containers do not notice.
    pub(super) fn agent_gone(&mut self) {
        let Some(agent) = self.agent.take() else {
            return;
        };
        agent.close(&self.poll);
        self.clients.end_all(&self.poll);
        self.release_outputs();
        for session in &mut self.sessions {
            session.end_input();
            session.drain(&self.poll);
        }
        self.jobs.iter_mut().for_each(super::Job::forget_request);
        self.shutdown.forget_request();
        self.buffers.touch();
    }

    /// Answers a request.
    pub(super) fn reply(&mut self, id: u64, result: reply::Result, fds: Descriptors) {
        let reply = Reply {
            id,
            result: Some(result),
        };
        self.send(Message::Reply(reply), fds);
    }

    /// Tells the agent, if there is one, what happened.
    pub(super) fn report(&mut self, message: Message) {
        self.send(message, Vec::new());
    }

    fn send(&mut self, message: Message, fds: Descriptors) {
        self.buffers.touch();
        if let Some(agent) = &mut self.agent
            && agent.send(message, fds, &self.poll).is_err()
        {
            self.agent_gone();
        }
    }
}
