//! One connection to a shim: requests out, replies and events in.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_sys::fdpass::{Flush, FrameError, FrameReader, FrameWriter, Read};
use agent_types::ExecId;
use prost::Message as _;
use proto_shim::request::Call;
use proto_shim::{FromShim, MAX_MESSAGE, Request, from_shim, reply};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::convert::Descriptors;
use crate::error::{HandshakeError, RequestError};
use crate::handshake::{self, Socket};
use crate::report::{Events, ExecExit, ExitReport, ShimEvent};

/// A reply and what came beside it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) result: reply::Result,
    pub(crate) descriptors: Descriptors,
}

/// What requests and the reading task share.
#[derive(Debug)]
struct State {
    writer: FrameWriter,
    /// The socket was full; the task waits for room.
    blocked: bool,
    next_id: u64,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    sessions: HashMap<ExecId, oneshot::Sender<ExecExit>>,
    closed: bool,
}

#[derive(Debug)]
struct Shared {
    socket: Socket,
    state: Mutex<State>,
    /// The task has something new to wait for: room in the socket, or nothing any more.
    wake: Notify,
}

/// The calling side; the connection ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    events: Mutex<Option<Events>>,
    gone: watch::Receiver<bool>,
}

impl Connection {
    /// Starts reading a connection whose first message has been read.
    pub(crate) fn start(
        socket: Socket,
        reader: FrameReader,
        pidfd: OwnedFd,
    ) -> Result<Self, HandshakeError> {
        let pidfd = handshake::watch(pidfd).map_err(|source| HandshakeError::Socket { source })?;
        let (events, received) = mpsc::unbounded_channel();
        let (gone, is_gone) = watch::channel(false);
        let shared = Arc::new(Shared {
            socket,
            state: Mutex::new(State {
                writer: FrameWriter::new(MAX_MESSAGE),
                blocked: false,
                next_id: 1,
                waiting: HashMap::new(),
                sessions: HashMap::new(),
                closed: false,
            }),
            wake: Notify::new(),
        });
        let task = Task {
            shared: Arc::clone(&shared),
            reader,
            pidfd,
            events,
            gone,
        };
        tokio::spawn(task.run());
        Ok(Self {
            shared,
            events: Mutex::new(Some(Events(received))),
            gone: is_gone,
        })
    }

    /// Returns the events, once.
    pub(crate) fn events(&self) -> Option<Events> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Waits until the shim is gone.
    pub(crate) async fn gone(&self) {
        let mut gone = self.gone.clone();
        // An error means that the task has ended, which it does only when the shim is gone.
        let _ = gone.wait_for(|gone| *gone).await;
    }

    /// Sends a request and waits for its reply.
    pub(crate) async fn call(&self, call: Call, fds: Descriptors) -> Result<Answer, RequestError> {
        let reply = self.send(call, fds)?;
        let answer = reply.await.map_err(|_| RequestError::Gone)?;
        match answer.result {
            reply::Result::Error(error) => Err(error.into()),
            _ => Ok(answer),
        }
    }

    fn send(
        &self,
        call: Call,
        fds: Descriptors,
    ) -> Result<oneshot::Receiver<Answer>, RequestError> {
        let (roles, fds): (Vec<_>, Vec<_>) = fds.into_iter().unzip();
        let (sender, receiver) = oneshot::channel();
        let mut state = self.shared.lock();
        if state.closed {
            return Err(RequestError::Gone);
        }
        let id = state.next_id;
        state.next_id += 1;
        let request = Request {
            id,
            fds: roles.into_iter().map(i32::from).collect(),
            call: Some(call),
        };
        let encode = |bytes: &mut Vec<u8>| {
            let encoded = request.encode(bytes);
            debug_assert!(encoded.is_ok(), "a Vec has room");
        };
        state
            .writer
            .push_with(request.encoded_len(), fds, encode)
            .map_err(|source| RequestError::Send { source })?;
        state.waiting.insert(id, sender);
        if !state.blocked {
            match state.writer.flush(self.shared.socket.get_ref().as_fd()) {
                Ok(Flush::Done) => {}
                Ok(Flush::Blocked) => {
                    state.blocked = true;
                    self.shared.wake.notify_one();
                }
                // The task sees the same and ends all that waits.
                Err(_) => return Err(RequestError::Gone),
            }
        }
        Ok(receiver)
    }

    /// Hands the end of session `id` to whoever holds the receiver.
    pub(crate) fn expect_session(&self, id: ExecId) -> oneshot::Receiver<ExecExit> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.shared.lock();
        if !state.closed {
            state.sessions.insert(id, sender);
        }
        receiver
    }

    /// Takes back [`Connection::expect_session`].
    pub(crate) fn forget_session(&self, id: &ExecId) {
        self.shared.lock().sessions.remove(id);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reading side.
struct Task {
    shared: Arc<Shared>,
    reader: FrameReader,
    pidfd: AsyncFd<OwnedFd>,
    events: mpsc::UnboundedSender<ShimEvent>,
    gone: watch::Sender<bool>,
}

/// Whether the connection goes on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

impl Task {
    async fn run(mut self) {
        while self.step().await == Next::Go {}
        // What the shim said before it went is heard before that it went.
        while let Ok(Read::Frame(frame)) = self.reader.read(self.shared.socket.get_ref().as_fd()) {
            self.hear(&frame.body, frame.fds);
        }
        let mut state = self.shared.lock();
        state.closed = true;
        state.waiting = HashMap::new();
        state.sessions = HashMap::new();
        drop(state);
        // Nobody may listen any more; then nobody needs to know.
        let _ = self.events.send(ShimEvent::Gone);
        let _ = self.gone.send(true);
    }

    async fn step(&mut self) -> Next {
        let (blocked, closed) = {
            let state = self.shared.lock();
            (state.blocked, state.closed)
        };
        if closed {
            return Next::Stop;
        }
        let socket = &self.shared.socket;
        tokio::select! {
            readable = socket.readable() => {
                let Ok(mut guard) = readable else { return Next::Stop };
                match self.reader.read(socket.get_ref().as_fd()) {
                    Ok(Read::Frame(frame)) => {
                        drop(guard);
                        self.hear(&frame.body, frame.fds)
                    }
                    Ok(Read::Pending) => {
                        guard.clear_ready();
                        Next::Go
                    }
                    Ok(Read::Closed) | Err(_) => Next::Stop,
                }
            }
            writable = socket.writable(), if blocked => {
                let Ok(mut guard) = writable else { return Next::Stop };
                match self.flush() {
                    Ok(Flush::Done) => Next::Go,
                    Ok(Flush::Blocked) => {
                        guard.clear_ready();
                        Next::Go
                    }
                    Err(_) => Next::Stop,
                }
            }
            () = self.shared.wake.notified() => Next::Go,
            _ = self.pidfd.readable() => Next::Stop,
        }
    }

    fn flush(&self) -> Result<Flush, FrameError> {
        let mut state = self.shared.lock();
        let flushed = state.writer.flush(self.shared.socket.get_ref().as_fd())?;
        state.blocked = flushed == Flush::Blocked;
        Ok(flushed)
    }

    /// Passes a message on to whoever waits for it.
    fn hear(&self, body: &[u8], fds: Vec<OwnedFd>) -> Next {
        let Ok(message) = FromShim::decode(body) else {
            return Next::Stop;
        };
        let descriptors = handshake::pair_up(&message.fds, fds);
        match message.message {
            Some(from_shim::Message::Reply(reply)) => {
                let waiting = self.shared.lock().waiting.remove(&reply.id);
                if let (Some(waiting), Some(result)) = (waiting, reply.result) {
                    // The caller may have stopped waiting.
                    let _ = waiting.send(Answer {
                        result,
                        descriptors,
                    });
                }
            }
            Some(from_shim::Message::ContainerExited(exited)) => {
                if let Ok(report) = ExitReport::try_from(exited) {
                    self.tell(ShimEvent::ContainerExited(report));
                }
            }
            Some(from_shim::Message::ExecExited(exited)) => {
                if let Ok(exit) = ExecExit::try_from(exited) {
                    let session = self.shared.lock().sessions.remove(&exit.id);
                    match session {
                        Some(session) => drop(session.send(exit)),
                        None => self.tell(ShimEvent::ExecExited(exit)),
                    }
                }
            }
            Some(from_shim::Message::HookFailed(failed)) => self.tell(ShimEvent::HookFailed {
                container: failed.container_id,
                message: failed.message,
            }),
            // A newer shim may say more than this agent knows.
            Some(from_shim::Message::Ready(_) | from_shim::Message::Failed(_)) | None => {}
        }
        Next::Go
    }

    fn tell(&self, event: ShimEvent) {
        // Whoever dropped the receiver does not want to know.
        let _ = self.events.send(event);
    }
}
