//! Running a process to its end and returning what it wrote.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use agent_shim_client::{ExecSession, ExecStreams};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tracing::Instrument as _;

use super::{ExecError, ExecSpec, Target, start};
use crate::metrics::Phase;
use crate::services::{Interrupted, Services};

/// Most bytes of both streams together that are kept: with its frame the answer fits the
/// 16 MiB that a kubelet accepts in one message. The rest is read and dropped.
pub const MAX_OUTPUT: usize = (16 << 20) - 1024;

/// How long output is waited for once the process has ended: a grandchild may hold the pipe.
const DRAIN: Duration = Duration::from_millis(100);

/// What a process wrote and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Its code, or 128 plus the signal that ended it.
    pub exit_code: i32,
}

/// Runs a process; goes on in a task of its own, so that a caller that goes away leaves nothing
/// half read.
pub(crate) async fn run(
    services: Arc<Services>,
    target: Target,
    spec: ExecSpec,
) -> Result<ExecOutput, ExecError> {
    let work = async move { run_here(&services, &target, &spec).await };
    tokio::spawn(work.in_current_span())
        .await
        .map_err(|_| Interrupted)?
}

async fn run_here(
    services: &Services,
    target: &Target,
    spec: &ExecSpec,
) -> Result<ExecOutput, ExecError> {
    let started = start(services, target, spec);
    let (_, session) = services.phases.time(Phase::ExecStart, started).await?;
    let ended = follow(target, spec, session);
    services.phases.time(Phase::ExecRun, ended).await
}

/// Reads what the process writes until it ends.
async fn follow(
    target: &Target,
    spec: &ExecSpec,
    session: ExecSession,
) -> Result<ExecOutput, ExecError> {
    let container = &target.record.id;
    let stream = |source| ExecError::Stream {
        container: container.clone(),
        source,
    };
    let ExecSession {
        streams, mut exit, ..
    } = session;
    let (stdout, stderr) = match streams {
        ExecStreams::Pipes { stdout, stderr, .. } => (stdout, Some(stderr)),
        ExecStreams::Terminal(terminal) => (terminal, None),
    };
    let open = |fd: OwnedFd| Receiver::from_owned_fd(fd).map_err(stream);
    let mut out = Output::new(Some(open(stdout)?));
    let mut err = Output::new(stderr.map(open).transpose()?);
    let mut room = MAX_OUTPUT;
    let exit = loop {
        tokio::select! {
            exit = exit.wait() => break exit,
            read = out.read(), if out.open() => room = out.keep(read, room),
            read = err.read(), if err.open() => room = err.keep(read, room),
        }
    };
    let drain = async {
        while out.open() || err.open() {
            tokio::select! {
                read = out.read(), if out.open() => room = out.keep(read, room),
                read = err.read(), if err.open() => room = err.keep(read, room),
            }
        }
    };
    // A grandchild that holds the pipe is not waited for.
    drop(tokio::time::timeout(DRAIN, drain).await);
    let exit = exit.map_err(|source| ExecError::Shim {
        container: container.clone(),
        source,
    })?;
    match spec.timeout {
        Some(timeout) if exit.timed_out => Err(ExecError::TimedOut {
            container: container.clone(),
            timeout,
        }),
        _ => Ok(ExecOutput {
            stdout: out.kept,
            stderr: err.kept,
            exit_code: exit.exit_code,
        }),
    }
}

/// One stream of the process.
struct Output {
    pipe: Option<Receiver>,
    chunk: Vec<u8>,
    kept: Vec<u8>,
}

impl Output {
    fn new(pipe: Option<Receiver>) -> Self {
        Self {
            pipe,
            chunk: Vec::new(),
            kept: Vec::new(),
        }
    }

    fn open(&self) -> bool {
        self.pipe.is_some()
    }

    /// Reads what is there; 0 at the end of the stream.
    async fn read(&mut self) -> std::io::Result<usize> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(0);
        };
        self.chunk.clear();
        self.chunk.reserve(4096);
        pipe.read_buf(&mut self.chunk).await
    }

    /// Keeps what was read as far as there is room; returns the room left.
    fn keep(&mut self, read: std::io::Result<usize>, room: usize) -> usize {
        match read {
            Ok(0) | Err(_) => {
                self.pipe = None;
                room
            }
            Ok(_) => {
                let take = self.chunk.len().min(room);
                self.kept.extend_from_slice(&self.chunk[..take]);
                if self.chunk.len() == self.chunk.capacity() && self.chunk.capacity() < 65536 {
                    // A stream that fills its chunk gets a larger one.
                    let larger = self.chunk.capacity() * 2;
                    self.chunk = Vec::with_capacity(larger);
                }
                room - take
            }
        }
    }
}
