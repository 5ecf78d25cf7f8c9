//! The shim's ends of a container's standard streams.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use agent_runtime::Stdio as Requested;

use crate::attach::{Clients, Input, Lag};
use crate::buffers::Buffers;
use crate::log::Log;
use crate::log::format::Stream;
use crate::pipes::{self, ReadOutcome, WriteOutcome};
use crate::poll::{Interest, Kind, Poll, Token};

/// Reads of one output before others get their turn.
const READS_PER_TURN: u32 = 8;

/// How often a terminal that nobody has open is looked at.
const TERMINAL_RETRY: Duration = Duration::from_millis(500);

/// How the end of an attach client's input is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputEnd {
    /// The container's input stays open.
    Keep,
    /// The first client's end is the container's.
    Close,
}

/// The writing side of a container's input.
#[derive(Debug)]
struct InputPipe {
    fd: OwnedFd,
    /// What did not fit; clients are not read while there is any.
    pending: Vec<u8>,
    end: InputEnd,
    /// The end has come; close once `pending` is through.
    closing: bool,
}

/// What the shim holds of a container's standard streams.
#[derive(Debug, Default)]
pub(crate) struct Stdio {
    /// Standard output and error; or the terminal and nothing.
    outputs: [Option<OwnedFd>; 2],
    input: Option<InputPipe>,
    terminal: bool,
    /// When to watch the terminal again, which nobody has open for the moment.
    resume_at: Option<Instant>,
    /// Outputs that are not read while a client lags behind, and when the first of these is cut off.
    held: [Option<Instant>; 2],
    /// Nothing is held any more: the container has ended long enough ago.
    hurried: bool,
}

/// What is asked of the standard streams.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    Terminal { rows: u16, columns: u16 },
    Pipes { input: Option<InputEnd> },
}

impl Stdio {
    /// Makes the pipes; returns our ends and what the runtime is to give the process.
    pub(crate) fn prepare(wanted: Wanted) -> rustix::io::Result<(Self, Requested)> {
        let input = match wanted {
            Wanted::Terminal { rows, columns } => {
                return Ok((Self::default(), Requested::Terminal { rows, columns }));
            }
            Wanted::Pipes { input } => input,
        };
        let stdout = pipes::output_pipe()?;
        let stderr = pipes::output_pipe()?;
        let (stdin, input) = match input {
            None => (None, None),
            Some(end) => {
                let pipe = pipes::input_pipe()?;
                (Some(pipe.theirs), Some(InputPipe::new(pipe.ours, end)))
            }
        };
        let ours = Self {
            outputs: [Some(stdout.ours), Some(stderr.ours)],
            input,
            ..Self::default()
        };
        let theirs = Requested::Pipes {
            stdin,
            stdout: stdout.theirs,
            stderr: stderr.theirs,
        };
        Ok((ours, theirs))
    }

    /// Takes over the terminal that the runtime made.
    pub(crate) fn set_terminal(&mut self, master: OwnedFd) -> rustix::io::Result<()> {
        pipes::set_nonblocking(&master)?;
        let input = rustix::io::fcntl_dupfd_cloexec(&master, 3)?;
        self.input = Some(InputPipe::new(input, InputEnd::Keep));
        self.outputs[Stream::Stdout.index()] = Some(master);
        self.terminal = true;
        Ok(())
    }

    /// Starts watching the outputs.
    pub(crate) fn watch(&self, serial: u32, poll: &Poll) -> rustix::io::Result<()> {
        for (stream, fd) in Stream::BOTH.into_iter().zip(&self.outputs) {
            if let Some(fd) = fd {
                poll.add(fd, output_token(serial, stream), Interest::Readable)?;
            }
        }
        Ok(())
    }

    /// When [`Stdio::catch_up`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let held = self.held.iter().flatten().copied();
        held.chain(self.resume_at).min()
    }

    /// Does what is due by now: looks at a terminal again, and cuts off the clients that have been
    /// waited for long enough.
    pub(crate) fn catch_up(&mut self, now: Instant, passage: &mut Passage<'_>) {
        if self.resume_at.is_some_and(|due| due <= now) {
            self.resume_at = None;
            self.watch_again(Stream::Stdout, passage);
        }
        for stream in Stream::BOTH {
            if self.held[stream.index()].is_some_and(|due| due <= now) {
                let Passage {
                    serial,
                    clients,
                    poll,
                    ..
                } = &mut *passage;
                clients.cut_off_due(*serial, stream, now, poll);
                if let Some(due) = clients.due(*serial, stream) {
                    self.held[stream.index()] = Some(due);
                }
            }
        }
        self.release(passage);
    }

    /// Reads on where no client lags behind any more.
    pub(crate) fn release(&mut self, passage: &mut Passage<'_>) {
        for stream in Stream::BOTH {
            let held = &mut self.held[stream.index()];
            if held.is_some() && passage.clients.lag(passage.serial, stream) == Lag::None {
                *held = None;
                self.watch_again(stream, passage);
            }
        }
    }

    /// Waits for no client any more.
    pub(crate) fn hurry(&mut self, passage: &mut Passage<'_>) {
        self.hurried = true;
        for stream in Stream::BOTH {
            passage
                .clients
                .cut_off(passage.serial, stream, passage.poll);
        }
        self.release(passage);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.iter().any(Option::is_some)
    }

    fn watch_again(&self, stream: Stream, passage: &Passage<'_>) {
        if let Some(fd) = &self.outputs[stream.index()] {
            let token = output_token(passage.serial, stream);
            let _ = passage.poll.add(fd, token, Interest::Readable);
        }
    }

    /// Has an output wait for the clients that lag behind, or cuts them off where nothing waits.
    fn hold(&mut self, stream: Stream, passage: &mut Passage<'_>) -> Turn {
        if self.hurried {
            passage
                .clients
                .cut_off(passage.serial, stream, passage.poll);
            return Turn::More;
        }
        if let Some(fd) = &self.outputs[stream.index()] {
            // Removed, not masked: a hang-up cannot be masked and would be reported for ever.
            passage.poll.remove(fd);
        }
        let due = passage.clients.due(passage.serial, stream);
        self.held[stream.index()] = due.or_else(|| Some(Instant::now()));
        Turn::Done
    }

    /// Returns whether all output has been read to its end.
    pub(crate) fn is_drained(&self) -> bool {
        self.outputs.iter().all(Option::is_none)
    }

    /// Sets the size of the terminal.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Option<rustix::io::Result<()>> {
        let master = self.outputs[0].as_ref().filter(|_| self.terminal)?;
        Some(set_size(master, rows, columns))
    }

    /// Whether a new attach client's input is read now.
    pub(crate) fn input_state(&self) -> Input {
        match &self.input {
            Some(input) if !input.pending.is_empty() => Input::Hold,
            _ => Input::Read,
        }
    }

    pub(crate) fn has_input(&self) -> bool {
        self.input.is_some()
    }

    /// Closes everything.
    pub(crate) fn close(&mut self, poll: &Poll) {
        for output in &mut self.outputs {
            if let Some(fd) = output.take() {
                poll.remove(&fd);
            }
        }
        self.close_input(poll);
    }

    fn close_input(&mut self, poll: &Poll) {
        if let Some(input) = self.input.take() {
            poll.remove(&input.fd);
        }
    }
}

impl InputPipe {
    fn new(fd: OwnedFd, end: InputEnd) -> Self {
        Self {
            fd,
            pending: Vec::new(),
            end,
            closing: false,
        }
    }
}

/// Everything that passing bytes on needs, beside the container's own streams.
pub(crate) struct Passage<'a> {
    pub(crate) serial: u32,
    /// Whether the container's first process lives.
    pub(crate) alive: bool,
    pub(crate) log: &'a mut Log,
    pub(crate) clients: &'a mut Clients,
    pub(crate) buffers: &'a mut Buffers,
    pub(crate) poll: &'a Poll,
}

impl Stdio {
    /// Passes on what `stream` has, up to a turn's worth; closes it at its end.
    pub(crate) fn pass_output(&mut self, stream: Stream, passage: &mut Passage<'_>) -> Turn {
        if self.held[stream.index()].is_some() {
            return Turn::Done;
        }
        let Some(fd) = &self.outputs[stream.index()] else {
            return Turn::Done;
        };
        passage.buffers.prepare();
        for _ in 0..READS_PER_TURN {
            let Buffers {
                input,
                records,
                clock,
                ..
            } = &mut *passage.buffers;
            match pipes::read(fd, input) {
                ReadOutcome::Empty => return Turn::Done,
                ReadOutcome::End if self.terminal && passage.alive => {
                    // Closed by all, but it may be opened again by its name.
                    passage.poll.remove(fd);
                    self.resume_at = Some(Instant::now() + TERMINAL_RETRY);
                    return Turn::Done;
                }
                ReadOutcome::End => {
                    passage.log.end(stream, clock, records);
                    passage.poll.remove(fd);
                    passage
                        .clients
                        .end_output(passage.serial, stream, passage.poll);
                    self.outputs[stream.index()] = None;
                    return Turn::Done;
                }
                ReadOutcome::Bytes(count) => {
                    passage.log.write(stream, input, clock, records);
                    let lag = passage
                        .clients
                        .copy(passage.serial, stream, input, passage.poll);
                    if lag == Lag::Some {
                        return self.hold(stream, passage);
                    }
                    if count < input.capacity() / 2 {
                        // Most likely all there was; the poll tells if not.
                        return Turn::More;
                    }
                }
            }
        }
        Turn::More
    }

    /// Passes on everything there is, up to `limit` turns.
    pub(crate) fn drain_output(&mut self, limit: u32, passage: &mut Passage<'_>) {
        for stream in Stream::BOTH {
            for _ in 0..limit {
                if self.pass_output(stream, passage) == Turn::Done {
                    break;
                }
            }
        }
    }

    /// Writes the unfinished lines of outputs that will not be read further.
    pub(crate) fn give_up_output(&mut self, log: &mut Log, buffers: &mut Buffers) {
        for (stream, output) in Stream::BOTH.into_iter().zip(&self.outputs) {
            if output.is_some() {
                buffers.prepare();
                log.end(stream, &mut buffers.clock, &mut buffers.records);
            }
        }
    }

    /// Copies what an attach client has sent into the container's input.
    pub(crate) fn pass_input(&mut self, client: u32, passage: &mut Passage<'_>) {
        let Some(fd) = passage
            .clients
            .find(client)
            .and_then(|client| client.stdin.as_ref())
        else {
            return;
        };
        passage.buffers.prepare();
        let outcome = pipes::read(fd, &mut passage.buffers.input);
        let Some(input) = &mut self.input else {
            passage.clients.close_input(client, passage.poll);
            return;
        };
        match outcome {
            ReadOutcome::Empty => {}
            ReadOutcome::End => {
                passage.clients.close_input(client, passage.poll);
                if input.end == InputEnd::Close {
                    input.closing = true;
                    if input.pending.is_empty() {
                        self.close_input(passage.poll);
                        passage
                            .clients
                            .close_inputs_of(passage.serial, passage.poll);
                    }
                }
            }
            ReadOutcome::Bytes(count) => match pipes::write(&input.fd, &passage.buffers.input) {
                WriteOutcome::Taken(taken) if taken == count => {}
                WriteOutcome::Taken(taken) => {
                    let rest = passage.buffers.input.get(taken..).unwrap_or_default();
                    input.pending = rest.to_vec();
                    let token = Token::new(Kind::Input, passage.serial);
                    let _ = passage.poll.add(&input.fd, token, Interest::Writable);
                    passage
                        .clients
                        .set_input(passage.serial, Input::Hold, passage.poll);
                }
                WriteOutcome::Broken => self.break_input(passage),
            },
        }
    }

    /// Writes what is pending: the container has read from its input.
    pub(crate) fn flush_input(&mut self, passage: &mut Passage<'_>) {
        let Some(input) = &mut self.input else { return };
        match pipes::write(&input.fd, &input.pending) {
            WriteOutcome::Broken => self.break_input(passage),
            WriteOutcome::Taken(taken) => {
                input.pending.drain(..taken);
                if !input.pending.is_empty() {
                    return;
                }
                input.pending = Vec::new();
                passage.poll.remove(&input.fd);
                if input.closing {
                    self.close_input(passage.poll);
                    passage
                        .clients
                        .close_inputs_of(passage.serial, passage.poll);
                } else {
                    passage
                        .clients
                        .set_input(passage.serial, Input::Read, passage.poll);
                }
            }
        }
    }

    /// The container has closed its input.
    fn break_input(&mut self, passage: &mut Passage<'_>) {
        self.close_input(passage.poll);
        passage
            .clients
            .close_inputs_of(passage.serial, passage.poll);
    }
}

/// What is left after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing more now.
    Done,
    /// Perhaps more.
    More,
}

pub(crate) fn set_size(terminal: &OwnedFd, rows: u16, columns: u16) -> rustix::io::Result<()> {
    let size = rustix::termios::Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal.as_fd(), size)
}

pub(crate) fn output_token(serial: u32, stream: Stream) -> Token {
    let kind = match stream {
        Stream::Stdout => Kind::Stdout,
        Stream::Stderr => Kind::Stderr,
    };
    Token::new(kind, serial)
}
