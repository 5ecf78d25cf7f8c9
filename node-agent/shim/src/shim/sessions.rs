//! Exec sessions of the sandbox as a whole.

use std::time::Instant;

use super::Shim;
use crate::log::format::Stream;

impl Shim {
    pub(super) fn time_out_sessions(&mut self, now: Instant) {
        for session in &mut self.sessions {
            let container = self
                .containers
                .iter()
                .find(|container| container.serial == session.container);
            session.time_out(now, container);
        }
    }

    pub(super) fn drop_session_output(&mut self, serial: u32, stream: Stream) {
        let session = self
            .sessions
            .iter_mut()
            .find(|session| session.serial == serial);
        if let Some(session) = session {
            session.drop_output(stream, &mut self.buffers, &self.poll);
            self.forget_sessions();
        }
    }

    /// Forgets the sessions that nothing is left of.
    pub(super) fn forget_sessions(&mut self) {
        let poll = &self.poll;
        self.sessions.retain_mut(|session| {
            let over = session.is_over();
            if over {
                session.close(poll);
            }
            !over
        });
        if self.sessions.is_empty() {
            self.sessions = Vec::new();
        }
    }
}
