//! How much may be sent to a client: one window for the connection, one for each stream.
//!
//! Most clients neither keep to windows nor open them; with the windows as the specification
//! has them, the first 64 KiB would be all that such a client ever gets. A client is taken for one that
//! uses windows once it has opened one or has set their size. Where it has done neither and a
//! window is used up, a ping goes out: when its answer comes and still no window has been opened,
//! though everything sent was read by then, the client does without. So does one that sends more than
//! it was let itself.

use std::collections::HashMap;

/// How far a window is open at first, in bytes (specification, section 2.6.8).
pub(super) const INITIAL: i64 = 64 << 10;

/// What is known about a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// It has not said anything about windows.
    Unknown,
    /// The same, and the answer to a ping is awaited.
    Asked,
    Uses,
    Ignores,
}

/// Whether bytes may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// So many.
    Bytes(usize),
    /// None now.
    None,
    /// None now, and a ping is to be sent.
    Ask,
    /// There is no such stream any more.
    Closed,
}

/// All windows of a connection.
#[derive(Debug)]
pub(super) struct Windows {
    habit: Habit,
    initial: i64,
    session: i64,
    /// Of the connection's window: what is reserved and may yet be given back.
    held: i64,
    streams: HashMap<u32, i64>,
}

/// A window was opened further than one can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overflow;

impl Windows {
    pub(super) fn new() -> Self {
        Self {
            habit: Habit::Unknown,
            initial: INITIAL,
            session: INITIAL,
            held: 0,
            streams: HashMap::new(),
        }
    }

    pub(super) fn open(&mut self, stream: u32) {
        self.streams.insert(stream, self.initial);
    }

    pub(super) fn close(&mut self, stream: u32) {
        self.streams.remove(&stream);
    }

    /// Takes room for at most `most` bytes on a stream.
    pub(super) fn reserve(&mut self, stream: u32, most: usize) -> Room {
        let Some(window) = self.streams.get_mut(&stream) else {
            return Room::Closed;
        };
        if self.habit == Habit::Ignores {
            return Room::Bytes(most);
        }
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let room = most.min(*window).min(self.session);
        if room > 0 {
            *window -= room;
            self.session -= room;
            self.held += room;
            return Room::Bytes(usize::try_from(room).unwrap_or_default());
        }
        // What others hold for a moment is not used up.
        let used_up = *window <= 0 || self.session + self.held <= 0;
        if self.habit == Habit::Unknown && used_up {
            self.habit = Habit::Asked;
            return Room::Ask;
        }
        Room::None
    }

    /// Says how much of what was reserved is sent; the rest is given back.
    pub(super) fn settle(&mut self, stream: u32, reserved: usize, used: usize) {
        if self.habit == Habit::Ignores {
            return;
        }
        let reserved = i64::try_from(reserved).unwrap_or_default();
        let unused = reserved - i64::try_from(used).unwrap_or_default();
        self.held -= reserved;
        self.session += unused;
        if let Some(window) = self.streams.get_mut(&stream) {
            *window += unused;
        }
    }

    /// The client has opened a window.
    pub(super) fn update(&mut self, stream: u32, delta: u32) -> Result<(), Overflow> {
        self.uses();
        let window = match stream {
            0 => &mut self.session,
            _ => match self.streams.get_mut(&stream) {
                Some(window) => window,
                // Of a stream that has just ended.
                None => return Ok(()),
            },
        };
        *window += i64::from(delta);
        if *window > i64::from(i32::MAX) {
            return Err(Overflow);
        }
        Ok(())
    }

    /// The client has set how far new windows are open; those that are open change with it.
    pub(super) fn set_initial(&mut self, size: u32) -> Result<(), Overflow> {
        self.uses();
        let size = i64::from(i32::try_from(size).map_err(|_| Overflow)?);
        let change = size - self.initial;
        self.initial = size;
        for window in self.streams.values_mut() {
            *window += change;
        }
        Ok(())
    }

    /// The client has sent more than its own windows let it.
    pub(super) fn ignores(&mut self) {
        if self.habit != Habit::Uses {
            self.habit = Habit::Ignores;
        }
    }

    /// The answer to the ping has come.
    pub(super) fn answered(&mut self) {
        if self.habit == Habit::Asked {
            self.habit = Habit::Ignores;
        }
    }

    fn uses(&mut self) {
        if self.habit != Habit::Ignores {
            self.habit = Habit::Uses;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_client_without_windows_is_found_out() {
        let mut windows = Windows::new();
        windows.open(1);
        windows.open(5);
        assert_eq!(windows.reserve(1, 1 << 20), Room::Bytes(64 << 10));
        assert_eq!(windows.reserve(5, 10), Room::None, "it may be given back");
        windows.settle(1, 64 << 10, 64 << 10);
        assert_eq!(windows.reserve(5, 10), Room::Ask);
        assert_eq!(windows.reserve(1, 10), Room::None);
        windows.answered();
        assert_eq!(windows.reserve(1, 1 << 20), Room::Bytes(1 << 20));
        assert_eq!(windows.reserve(3, 10), Room::Closed);
    }

    #[test]
    fn a_client_with_windows_is_kept_to() {
        let mut windows = Windows::new();
        windows.open(1);
        windows.open(3);
        assert_eq!(windows.reserve(1, 60 << 10), Room::Bytes(60 << 10));
        assert_eq!(windows.reserve(3, 60 << 10), Room::Bytes(4 << 10));
        windows.update(3, 8 << 10).unwrap();
        windows.answered();
        // The connection's own window is still closed.
        assert_eq!(windows.reserve(3, 10), Room::None);
        windows.update(0, 100).unwrap();
        assert_eq!(windows.reserve(3, 1000), Room::Bytes(100));
        windows.settle(3, 100, 60);
        assert_eq!(windows.reserve(1, 1000), Room::Bytes(40));
        assert_eq!(windows.update(0, i32::MAX.cast_unsigned()), Ok(()));
        assert_eq!(windows.update(0, i32::MAX.cast_unsigned()), Err(Overflow));
    }

    #[test]
    fn settings_change_open_windows() {
        let mut windows = Windows::new();
        windows.open(1);
        assert_eq!(windows.reserve(1, 1000), Room::Bytes(1000));
        windows.set_initial(500).unwrap();
        assert_eq!(windows.reserve(1, 1000), Room::None);
        windows.set_initial(1100).unwrap();
        assert_eq!(windows.reserve(1, 1000), Room::Bytes(100));
        assert_eq!(windows.set_initial(u32::MAX), Err(Overflow));
    }

    proptest! {
        #[test]
        fn no_more_is_sent_than_windows_were_opened(
            steps in proptest::collection::vec((0_u8..3, 0_u32..3, 0_u32..100_000), 0..200)
        ) {
            let mut windows = Windows::new();
            for stream in [1, 2] {
                windows.open(stream);
            }
            // It says at once that it uses them.
            windows.update(0, 0).unwrap();
            let mut allowed = [INITIAL; 3];
            for (what, stream, count) in steps {
                if what == 0 {
                    windows.update(stream, count).unwrap();
                    allowed[stream as usize] += i64::from(count);
                } else if stream > 0
                    && let Room::Bytes(bytes) = windows.reserve(stream, count as usize)
                {
                    let bytes = i64::try_from(bytes).unwrap();
                    allowed[0] -= bytes;
                    allowed[stream as usize] -= bytes;
                }
                prop_assert!(allowed.iter().all(|left| *left >= 0));
            }
        }
    }
}
