//! Running a process whose streams somebody holds.

use std::sync::Arc;

use agent_shim_client::{ExecExiting, ExecStreams, RequestError, TerminalSize};
use agent_types::{ContainerId, ExecId};
use tokio::runtime::Handle;

use super::{ExecError, ExecSpec, Target, start};
use crate::sandbox::Live;
use crate::services::Services;

/// A process, and the agent's ends of its streams.
///
/// Its output must be read to the end, or given up with [`Control::drain`].
#[derive(Debug)]
pub struct Session {
    /// Its streams; none of them blocks.
    pub streams: ExecStreams,
    /// What can be asked about it.
    pub control: Control,
    exit: ExecExiting,
}

/// What can be asked about a process.
#[derive(Debug, Clone)]
pub struct Control {
    /// The container it runs in.
    pub container: ContainerId,
    id: ExecId,
    live: Arc<Live>,
}

impl Control {
    fn failed(&self, source: RequestError) -> ExecError {
        ExecError::Shim {
            container: self.container.clone(),
            source,
        }
    }

    /// Sets the size of its terminal.
    ///
    /// # Errors
    /// When it has none, or has ended.
    pub async fn resize(&self, rows: u16, columns: u16) -> Result<(), ExecError> {
        let size = TerminalSize { rows, columns };
        let resized = self.live.shim.resize_exec(&self.id, size).await;
        resized.map_err(|source| self.failed(source))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn signal(&self, signal: i32) -> Result<(), ExecError> {
        let sent = self.live.shim.signal_exec(&self.id, signal).await;
        sent.map_err(|source| self.failed(source))
    }

    /// Has its output read and dropped from here on, without the agent.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn drain(&self) -> Result<(), ExecError> {
        let drained = self.live.shim.drain_exec(&self.id).await;
        drained.map_err(|source| self.failed(source))
    }
}

impl Session {
    /// Takes the session apart: its streams, what can be asked, and its end.
    #[must_use]
    pub fn into_parts(self) -> (ExecStreams, Control, SessionEnd) {
        let end = SessionEnd {
            control: self.control.clone(),
            exit: self.exit,
            seen: false,
        };
        (self.streams, self.control, end)
    }
}

/// The end of a process, to come.
///
/// Dropped before it was seen, it has the output drained: whoever held the streams was cut off, and
/// the process would wait for ever for a reader.
#[derive(Debug)]
pub struct SessionEnd {
    control: Control,
    exit: ExecExiting,
    seen: bool,
}

impl SessionEnd {
    /// Waits for the end and returns the exit code; may be called again after it was cancelled.
    ///
    /// # Errors
    /// When the shim goes first.
    pub async fn wait(&mut self) -> Result<i32, ExecError> {
        let ended = self.exit.wait().await;
        self.seen = true;
        ended
            .map(|exit| exit.exit_code)
            .map_err(|source| self.control.failed(source))
    }
}

impl Drop for SessionEnd {
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.seen, Handle::try_current()) {
            let control = self.control.clone();
            // It may have ended meanwhile.
            runtime.spawn(async move { drop(control.drain().await) });
        }
    }
}

/// Starts a process and returns its streams.
pub(crate) async fn open(
    services: &Arc<Services>,
    target: &Target,
    spec: &ExecSpec,
) -> Result<Session, ExecError> {
    let (id, session) = start(services, target, spec).await?;
    Ok(Session {
        streams: session.streams,
        exit: session.exit,
        control: Control {
            container: target.record.id.clone(),
            id,
            live: Arc::clone(&target.live),
        },
    })
}
