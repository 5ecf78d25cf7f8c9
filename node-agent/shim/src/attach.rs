//! Attach clients: copies of a container's output, and input for it.
//!
//! A client that does not keep up is cut off, never waited for. All clients end with the agent
//! that brought them.

use std::os::fd::OwnedFd;

use crate::log::format::Stream;
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
    outputs: [Option<OwnedFd>; 2],
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
        let serial = poll.serial();
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
            outputs,
        });
        Ok(())
    }

    pub(crate) fn find(&self, serial: u32) -> Option<&Client> {
        self.all.iter().find(|client| client.serial == serial)
    }

    /// Copies what `stream` of a container brought to its clients.
    pub(crate) fn copy(&mut self, container: u32, stream: Stream, bytes: &[u8], poll: &Poll) {
        for client in self
            .all
            .iter_mut()
            .filter(|client| client.container == container)
        {
            let slot = &mut client.outputs[stream.index()];
            let Some(fd) = slot else { continue };
            if pipes::write(&*fd, bytes) != WriteOutcome::Taken(bytes.len()) {
                poll.remove(&*fd);
                *slot = None;
                // Cut off: the other output would go on alone, with a hole nobody can see.
                client.close_all(poll);
            }
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
            close(&mut client.outputs[stream.index()], poll);
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
            close(&mut client.outputs[stream.index()], poll);
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
            close(output, poll);
        }
    }
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
