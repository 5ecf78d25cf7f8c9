//! From the end of a container's first process to its written exit.

use std::time::{Duration, Instant, SystemTime};

use agent_runtime::{Deletion, Ending};
use agent_types::time::nanoseconds;
use proto_shim::ContainerExited;

use super::stdio::Passage;
use super::{Container, Ended, Phase, PidNamespace};
use crate::attach::Clients;
use crate::buffers::Buffers;
use crate::directory::Directory;
use crate::pipes::Status;
use crate::poll::Poll;

/// How long output is waited for whose writers outlive the first process.
const DRAIN: Duration = Duration::from_millis(100);

/// How often it is looked whether they have ended.
const LOOK: Duration = Duration::from_millis(10);

/// Turns of reading when the time is up: enough for full pipes, an end to an endless writer.
const LAST_TURNS: u32 = 4;

const SIGKILL: i32 = 9;

/// What the life of a container touches beside itself.
pub(crate) struct Surroundings<'a> {
    pub(crate) clients: &'a mut Clients,
    pub(crate) buffers: &'a mut Buffers,
    pub(crate) poll: &'a Poll,
    pub(crate) directory: &'a Directory,
}

/// What is done about a container whose processes are gone.
#[derive(Debug)]
pub(crate) enum Forgetting {
    /// The runtime that has made it forgets it.
    Other(Deletion),
    /// Its last hooks are run.
    Hooks(Ending),
}

impl Container {
    /// Has the runtime that has made it forget it, or its last hooks run, once; nothing to do for
    /// one of ours without hooks.
    pub(crate) fn forget(&mut self) -> Option<Forgetting> {
        let hooked = self.hooked.take();
        // Where that fails: its process is gone, and its cgroup and mounts go by themselves.
        if let Some(external) = self.external.take() {
            return external.delete().ok().map(Forgetting::Other);
        }
        hooked?.end().ok().flatten().map(Forgetting::Hooks)
    }

    /// Splits into streams and what passing their bytes on needs.
    pub(crate) fn passage<'a>(
        &'a mut self,
        around: &'a mut Surroundings<'_>,
    ) -> (&'a mut super::stdio::Stdio, Passage<'a>) {
        let passage = Passage {
            serial: self.serial,
            alive: self.is_alive(),
            log: &mut self.log,
            clients: around.clients,
            buffers: around.buffers,
            poll: around.poll,
        };
        (&mut self.stdio, passage)
    }

    /// Notes that the first process has ended, and ends the others.
    pub(crate) fn process_ended(&mut self, status: Status, start_error: String) {
        if !self.is_alive() {
            return;
        }
        let oom_killed =
            (status.signal == SIGKILL || status.code == 128 + SIGKILL) && self.cgroup.oom_killed();
        if self.pid_namespace == PidNamespace::Shared {
            self.cgroup.kill();
        }
        let now = Instant::now();
        self.phase = Phase::Ended(Ended {
            status,
            finished_at: nanoseconds(SystemTime::now()),
            oom_killed,
            start_error,
            next_look: now,
            deadline: now + DRAIN,
        });
    }

    /// Says whether it has ended by the OOM killer, as far as that is known yet.
    pub(crate) fn was_oom_killed(&self) -> bool {
        matches!(&self.phase, Phase::Ended(ended) if ended.oom_killed)
    }

    /// When [`Container::settle`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Ended(ended) => Some(ended.next_look),
            Phase::Created(_) | Phase::Starting | Phase::Running | Phase::Exited(_) => {
                self.stdio.deadline()
            }
        }
    }

    /// Drains the output of an ended container; returns its exit once all of it is written down.
    pub(crate) fn settle(&mut self, around: &mut Surroundings<'_>) -> Option<ContainerExited> {
        let Phase::Ended(ended) = &self.phase else {
            return None;
        };
        let ended = ended.clone();
        let now = Instant::now();
        let last = now >= ended.deadline;
        // Looked at before the last read: whatever they wrote is in the pipes then.
        let alone = !self.stdio.is_drained() && self.cgroup.is_empty();
        let (stdio, mut passage) = self.passage(around);
        if last {
            stdio.hurry(&mut passage);
        }
        stdio.drain_output(LAST_TURNS, &mut passage);
        // A client that lags behind gets the last of it, where it is quick.
        let alone = alone && !stdio.is_held();
        if !(stdio.is_drained() || alone || last) {
            if self.pid_namespace == PidNamespace::Shared {
                self.cgroup.kill();
            }
            let next_look = (now + LOOK).min(ended.deadline);
            self.phase = Phase::Ended(Ended { next_look, ..ended });
            return None;
        }
        Some(self.finish(ended, around))
    }

    fn finish(&mut self, ended: Ended, around: &mut Surroundings<'_>) -> ContainerExited {
        self.stdio.give_up_output(&mut self.log, around.buffers);
        self.stdio.close(around.poll);
        around.clients.end_container(self.serial, around.poll);
        let report = ContainerExited {
            container_id: self.id.to_string(),
            exit_code: ended.status.code,
            signal: ended.status.signal,
            finished_at: ended.finished_at,
            oom_killed: ended.oom_killed,
            started_at: self.started_at,
            start_error: ended.start_error,
            dropped_log_lines: self.log.dropped,
        };
        // A full disk costs the file, not the report: an agent that is there hears it all the same.
        let _ = around.directory.write_exit(&report);
        self.log.close();
        self.cgroup.release();
        self.pidfd = None;
        self.phase = Phase::Exited(report.clone());
        report
    }
}
