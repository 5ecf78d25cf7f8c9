//! Processes that have ended.

use nix::sys::signalfd::siginfo;
use proto_shim::from_shim::Message;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, wait, waitpid};

use super::Shim;
use crate::pipes::Status;

impl Shim {
    /// Waits for every child that has ended, or for those that are known while a runtime is at work.
    pub(super) fn reap_children(&mut self) {
        // Several ends may come as one signal, so the signal says only that there is something.
        while let Ok(Some(siginfo { .. })) = self.signals.read_signal() {}
        if self.jobs.is_empty() {
            self.reap(None);
        } else {
            self.reap_known();
        }
    }

    /// Waits for a child that has ended, or all of them.
    pub(super) fn reap(&mut self, child: Option<Pid>) {
        loop {
            let ended = match child {
                Some(child) => waitpid(Some(child), WaitOptions::NOHANG),
                // Of any process group: without one, `waitpid` means ours.
                None => wait(WaitOptions::NOHANG),
            };
            match ended {
                Ok(Some((pid, status))) => self.child_ended(pid, status.into()),
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// A container's first process, a session's, the reaper, or one that came here when its
    /// parent ended.
    fn child_ended(&mut self, pid: Pid, status: Status) {
        let pid = pid.as_raw_nonzero().get();
        let container = self
            .containers
            .iter()
            .position(|container| container.pid == pid && container.is_alive());
        if let Some(index) = container {
            self.containers[index].process_ended(status, String::new());
            if self.containers[index].was_oom_killed() {
                for other in &mut self.containers {
                    other.cgroup.forget_kills_of_others();
                }
            }
            self.settle(index);
            return;
        }
        let session = self
            .sessions
            .iter_mut()
            .find(|session| session.pid == pid && !session.ended);
        if let Some(session) = session {
            let report = session.end(status);
            self.report(Message::ExecExited(report));
            self.forget_sessions();
        }
    }
}
