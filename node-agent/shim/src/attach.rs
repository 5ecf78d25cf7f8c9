//! Attach clients: copies of a container's output, and input for it.
//!
//! A client that lags behind holds its container's output back for a moment, and is cut off where it
//! does not catch up by then, or has held it back for too long in all (`patience.rs`). All clients
//! end with the agent that brought them.

use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::log::format::Stream;
use crate::patience::Patience;
use crate::pipes::{self, WriteOutcome};
use crate::poll::{Interest, Kind, Poll, Token};

/// Room a client's pipe gets, where the kernel allows it: that far it may lag behind.
const PIPE_SIZE: usize = 1 << 20;

/// Most clients of one sandbox at a time; a further one is refused.
pub(crate) const MAX_CLIENTS: usize = 256;

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) serial: u32,
    /// Serial of the container.
    pub(crate) container: u32,
    pub(crate) stdin: Option<OwnedFd>,
    outputs: [Option<Output>; 2],
}

/// A pipe to a client.
#[derive(Debug)]
struct Output {
    fd: OwnedFd,
    /// What it had no room for.
    pending: Vec<u8>,
    patience: Patience,
}

/// All clients of the sandbox.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    all: Vec<Client>,
}

impl Clients {
    pub(crate) fn is_full(&self) -> bool {
        self.all.len() >= MAX_CLIENTS
    }

    /// Adds a client; `input` says whether its input is read now.
    pub(crate) fn add(
        &mut self,
        container: u32,
        stdin: Option<OwnedFd>,
        outputs: [Option<OwnedFd>; 2],
        input: Input,
        poll: &mut Poll,
    ) -> rustix::io::Result<()> {
        let (serial, now) = (poll.serial(), Instant::now());
        for (stream, fd) in Stream::BOTH.into_iter().zip(&outputs) {
            if let Some(fd) = fd {
                pipes::set_nonblocking(fd)?;
                let _ = rustix::pipe::fcntl_setpipe_size(fd, PIPE_SIZE);
                poll.add(fd, output_token(serial, stream), Interest::HangUp)?;
            }
        }
        if let Some(fd) = &stdin {
            pipes::set_nonblocking(fd)?;
            if input == Input::Read {
                poll.add(fd, input_token(serial), Interest::Readable)?;
            }
        }
        self.all.push(Client {
            serial,
            container,
            stdin,
            outputs: outputs.map(|fd| {
                fd.map(|fd| Output {
                    fd,
                    pending: Vec::new(),
                    patience: Patience::new(now),
                })
            }),
        });
        Ok(())
    }

    pub(crate) fn find(&self, serial: u32) -> Option<&Client> {
        self.all.iter().find(|client| client.serial == serial)
    }

    /// Copies what `stream` of a container brought to its clients; none of them lags behind.
    pub(crate) fn copy(
        &mut self,
        container: u32,
        stream: Stream,
        bytes: &[u8],
        poll: &Poll,
    ) -> Lag {
        let mut lag = Lag::None;
        for client in self
            .all
            .iter_mut()
            .filter(|client| client.container == container)
        {
            let token = output_token(client.serial, stream);
            let Some(output) = &mut client.outputs[stream.index()] else {
                continue;
            };
            match pipes::write(&output.fd, bytes) {
                WriteOutcome::Taken(taken) if taken == bytes.len() => {}
                WriteOutcome::Taken(taken)
                    if poll.modify(&output.fd, token, Interest::Writable).is_ok() =>
                {
                    output.pending = bytes.get(taken..).unwrap_or_default().to_vec();
                    output.patience.took(taken);
                    output.patience.begin(Instant::now());
                    lag = Lag::Some;
                }
                WriteOutcome::Taken(_) | WriteOutcome::Broken => client.close_all(poll),
            }
        }
        self.forget_closed();
        lag
    }

    /// Writes what is pending for a client: it has read.
    pub(crate) fn flush(&mut self, serial: u32, stream: Stream, poll: &Poll) {
        for client in self.all.iter_mut().filter(|client| client.serial == serial) {
            let Some(output) = &mut client.outputs[stream.index()] else {
                continue;
            };
            match pipes::write(&output.fd, &output.pending) {
                WriteOutcome::Taken(taken) if taken < output.pending.len() => {
                    output.pending.drain(..taken);
                    output.patience.took(taken);
                }
                WriteOutcome::Taken(taken) => {
                    output.pending = Vec::new();
                    output.patience.took(taken);
                    output.patience.end(Instant::now());
                    let token = output_token(serial, stream);
                    if poll.modify(&output.fd, token, Interest::HangUp).is_err() {
                        client.close_all(poll);
                    }
                }
                WriteOutcome::Broken => client.close_all(poll),
            }
        }
        self.forget_closed();
    }

    /// Says whether a client of a container has yet to take some of `stream`.
    pub(crate) fn lag(&self, container: u32, stream: Stream) -> Lag {
        let lags = |client: &Client| client.container == container && client.lags(stream);
        if self.all.iter().any(lags) {
            Lag::Some
        } else {
            Lag::None
        }
    }

    /// Returns when the first of the clients that have yet to take some of `stream` is to be cut off.
    pub(crate) fn due(&self, container: u32, stream: Stream) -> Option<Instant> {
        let clients = self.all.iter();
        let clients = clients.filter(|client| client.container == container);
        clients.filter_map(|client| client.due(stream)).min()
    }

    /// Ends the clients of a container that have yet to take some of `stream`, and are due.
    pub(crate) fn cut_off_due(
        &mut self,
        container: u32,
        stream: Stream,
        now: Instant,
        poll: &Poll,
    ) {
        let is_due = |client: &Client| client.due(stream).is_some_and(|due| due <= now);
        self.cut_off_where(container, stream, is_due, poll);
    }

    /// Ends the clients of a container that have yet to take some of `stream`.
    pub(crate) fn cut_off(&mut self, container: u32, stream: Stream, poll: &Poll) {
        self.cut_off_where(container, stream, |_| true, poll);
    }

    fn cut_off_where(
        &mut self,
        container: u32,
        stream: Stream,
        chosen: impl Fn(&Client) -> bool,
        poll: &Poll,
    ) {
        for client in self
            .all
            .iter_mut()
            .filter(|client| client.container == container && client.lags(stream) && chosen(client))
        {
            // Both outputs: the other would go on alone, with a hole nobody can see.
            client.close_all(poll);
        }
        self.forget_closed();
    }

    /// Closes the input of one client.
    pub(crate) fn close_input(&mut self, serial: u32, poll: &Poll) {
        for client in self.all.iter_mut().filter(|client| client.serial == serial) {
            close(&mut client.stdin, poll);
        }
        self.forget_closed();
    }

    /// Closes the inputs of all clients of a container: it reads no more.
    pub(crate) fn close_inputs_of(&mut self, container: u32, poll: &Poll) {
        for client in self
            .all
            .iter_mut()
            .filter(|client| client.container == container)
        {
            close(&mut client.stdin, poll);
        }
        self.forget_closed();
    }

    /// Stops or resumes reading the inputs of a container's clients.
    pub(crate) fn set_input(&self, container: u32, input: Input, poll: &Poll) {
        for client in self
            .all
            .iter()
            .filter(|client| client.container == container)
        {
            let Some(fd) = &client.stdin else { continue };
            match input {
                // Removed, not masked: a hang-up cannot be masked and would be reported for ever.
                Input::Hold => poll.remove(fd),
                Input::Read => {
                    let _ = poll.add(fd, input_token(client.serial), Interest::Readable);
                }
            }
        }
    }

    /// Closes one output whose reader has gone.
    pub(crate) fn hang_up(&mut self, serial: u32, stream: Stream, poll: &Poll) {
        for client in self.all.iter_mut().filter(|client| client.serial == serial) {
            close_output(&mut client.outputs[stream.index()], poll);
            if client.outputs.iter().all(Option::is_none) {
                client.close_all(poll);
            }
        }
        self.forget_closed();
    }

    /// Closes one output of a container's clients: it has ended.
    pub(crate) fn end_output(&mut self, container: u32, stream: Stream, poll: &Poll) {
        for client in self
            .all
            .iter_mut()
            .filter(|client| client.container == container)
        {
            close_output(&mut client.outputs[stream.index()], poll);
        }
        self.forget_closed();
    }

    /// Ends all clients of a container.
    pub(crate) fn end_container(&mut self, container: u32, poll: &Poll) {
        for client in self
            .all
            .iter_mut()
            .filter(|client| client.container == container)
        {
            client.close_all(poll);
        }
        self.forget_closed();
    }

    /// Ends all clients: their agent has gone.
    pub(crate) fn end_all(&mut self, poll: &Poll) {
        for client in &mut self.all {
            client.close_all(poll);
        }
        self.forget_closed();
    }

    fn forget_closed(&mut self) {
        self.all
            .retain(|client| client.stdin.is_some() || client.outputs.iter().any(Option::is_some));
        if self.all.is_empty() {
            self.all = Vec::new();
        }
    }
}

impl Client {
    fn close_all(&mut self, poll: &Poll) {
        close(&mut self.stdin, poll);
        for output in &mut self.outputs {
            close_output(output, poll);
        }
    }

    fn lags(&self, stream: Stream) -> bool {
        self.outputs[stream.index()]
            .as_ref()
            .is_some_and(|output| !output.pending.is_empty())
    }

    fn due(&self, stream: Stream) -> Option<Instant> {
        self.outputs[stream.index()].as_ref()?.patience.due()
    }
}

/// Whether clients lag behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lag {
    None,
    Some,
}

/// Whether the inputs of a container's clients are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Read,
    /// The container's input is full.
    Hold,
}

fn close(slot: &mut Option<OwnedFd>, poll: &Poll) {
    // Removed by hand: a copy of the description elsewhere would keep it in the epoll.
    if let Some(fd) = slot.take() {
        poll.remove(&fd);
    }
}

fn close_output(slot: &mut Option<Output>, poll: &Poll) {
    if let Some(output) = slot.take() {
        poll.remove(&output.fd);
    }
}

fn input_token(serial: u32) -> Token {
    Token::new(Kind::ClientInput, serial)
}

fn output_token(serial: u32, stream: Stream) -> Token {
    let kind = match stream {
        Stream::Stdout => Kind::ClientStdout,
        Stream::Stderr => Kind::ClientStderr,
    };
    Token::new(kind, serial)
}
