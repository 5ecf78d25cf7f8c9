//! One epoll for everything a shim waits for; an event names its source by kind and serial.
//!
//! Serials are never used twice, so an event for something that has just gone is told from one
//! for what came after it under the same descriptor number.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Listener,
    Signals,
    Agent,
    /// Output of a container, or of a session that nobody else reads.
    Stdout,
    Stderr,
    /// Room in a container's input.
    Input,
    /// An attach client's ends.
    ClientInput,
    ClientStdout,
    ClientStderr,
    /// Another runtime has done what it was asked, or has failed.
    Runtime,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Listener,
        Self::Signals,
        Self::Agent,
        Self::Stdout,
        Self::Stderr,
        Self::Input,
        Self::ClientInput,
        Self::ClientStdout,
        Self::ClientStderr,
        Self::Runtime,
    ];
}

/// Names one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) serial: u32,
}

impl Token {
    pub(crate) const fn new(kind: Kind, serial: u32) -> Self {
        Self { kind, serial }
    }

    fn pack(self) -> EventData {
        EventData::new_u64(((self.kind as u64) << 32) | u64::from(self.serial))
    }

    fn unpack(data: EventData) -> Option<Self> {
        let bytes = data.u64().to_be_bytes();
        let [_, _, _, kind, a, b, c, d] = bytes;
        let kind = *Kind::ALL.get(usize::from(kind))?;
        Some(Self::new(kind, u32::from_be_bytes([a, b, c, d])))
    }
}

/// What to wait for; errors and hang-ups come in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Readable,
    Writable,
    Both,
    /// Only that the other side goes away.
    HangUp,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Readable => EventFlags::IN,
            Self::Writable => EventFlags::OUT,
            Self::Both => EventFlags::IN | EventFlags::OUT,
            Self::HangUp => EventFlags::empty(),
        }
    }
}

/// One event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    pub(crate) readable: bool,
}

const BATCH: usize = 16;

/// The epoll descriptor and the last serial given out.
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: OwnedFd,
    serial: u32,
}

impl Poll {
    pub(crate) fn new() -> rustix::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, serial: 0 })
    }

    /// Returns a serial nobody has.
    pub(crate) fn serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    pub(crate) fn add(
        &self,
        fd: impl AsFd,
        token: Token,
        interest: Interest,
    ) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, fd, token.pack(), interest.flags())
    }

    pub(crate) fn modify(
        &self,
        fd: impl AsFd,
        token: Token,
        interest: Interest,
    ) -> rustix::io::Result<()> {
        epoll::modify(&self.epoll, fd, token.pack(), interest.flags())
    }

    /// Stops watching; not watched at all is as good.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits until something happens or `deadline` is there; appends what happened to `ready`.
    pub(crate) fn wait(
        &self,
        deadline: Option<Instant>,
        ready: &mut Vec<Ready>,
    ) -> rustix::io::Result<()> {
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            timespec(left)
        });
        let mut events = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; BATCH];
        let count = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(errno) => return Err(errno),
        };
        let gone = EventFlags::ERR | EventFlags::HUP;
        ready.extend(events[..count].iter().filter_map(|event| {
            let flags = event.flags;
            Some(Ready {
                token: Token::unpack(event.data)?,
                readable: flags.intersects(EventFlags::IN | gone),
            })
        }));
        Ok(())
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "ALL is in order");
            let token = Token::new(kind, u32::MAX - 5);
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(EventData::new_u64(u64::MAX)), None);
    }

    #[test]
    fn a_hang_up_is_readable_whatever_was_asked_for() {
        let poll = Poll::new().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let token = Token::new(Kind::ClientStdout, 7);
        poll.add(&write, token, Interest::HangUp).unwrap();
        drop(read);
        let mut ready = Vec::new();
        poll.wait(None, &mut ready).unwrap();
        assert_eq!(ready.len(), 1);
        assert_eq!(ready[0].token, token);
        assert!(ready[0].readable);
    }
}
