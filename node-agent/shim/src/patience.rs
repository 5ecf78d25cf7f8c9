//! How long one attach client may hold its container's output back.

use std::time::{Duration, Instant};

/// At a time: less than one read's worth is taken in it.
const AT_ONCE: Duration = Duration::from_secs(1);

/// In all, for a client that keeps up at no time.
const IN_ALL: Duration = Duration::from_secs(3);

/// Of the time that a client keeps up, one part in so many is given back to it.
const EARNED: u32 = 10;

/// What a byte that a client takes gives back to it: one that takes ten megabytes a second may hold
/// a container that writes faster than that back for ever.
const EARNED_BY_BYTE: Duration = Duration::from_nanos(100);

/// What is left for one client's output.
///
/// A container whose output has a slow client, however it spreads its slowness, is held back for
/// three seconds, and from then on for a tenth of its time at most, or to ten megabytes a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// As of `since`.
    left: Duration,
    /// When the client began to lag behind, or to keep up.
    since: Instant,
    behind: bool,
}

impl Patience {
    /// Returns that with a client that keeps up.
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            left: IN_ALL,
            since: now,
            behind: false,
        }
    }

    /// The client lags behind from now on.
    pub(crate) fn begin(&mut self, now: Instant) {
        if !self.behind {
            let earned = now.saturating_duration_since(self.since) / EARNED;
            self.left = self.left.saturating_add(earned).min(IN_ALL);
            self.since = now;
            self.behind = true;
        }
    }

    /// The client has taken so many bytes.
    pub(crate) fn took(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = EARNED_BY_BYTE.saturating_mul(bytes);
        self.left = self.left.saturating_add(earned).min(IN_ALL);
    }

    /// The client has caught up.
    pub(crate) fn end(&mut self, now: Instant) {
        if self.behind {
            let held = now.saturating_duration_since(self.since);
            self.left = self.left.saturating_sub(held);
            self.since = now;
            self.behind = false;
        }
    }

    /// Returns when a client that lags behind is to be cut off.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.behind.then(|| self.since + self.left.min(AT_ONCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn who_stands_still_has_a_second() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        assert_eq!(patience.due(), None);
        patience.begin(start + ms(5));
        assert_eq!(patience.due(), Some(start + ms(1005)));
        // It goes on lagging: nothing begins anew.
        patience.begin(start + ms(500));
        assert_eq!(patience.due(), Some(start + ms(1005)));
    }

    #[test]
    fn who_is_always_late_has_three_seconds_in_all() {
        let start = Instant::now();
        let mut now = start;
        let mut patience = Patience::new(now);
        let cut_off = loop {
            patience.begin(now);
            let due = patience.due().unwrap();
            if due <= now + ms(900) {
                break due;
            }
            now += ms(900);
            patience.end(now);
        };
        assert_eq!(cut_off, start + IN_ALL);
    }

    /// Returns how long a client that takes `rate` bytes a millisecond, and lags all the time, goes on.
    fn lasts(rate: usize) -> Option<Duration> {
        let start = Instant::now();
        let mut now = start;
        let mut patience = Patience::new(now);
        for _ in 0..100_000 {
            patience.begin(now);
            now += ms(5);
            if patience.due().unwrap() <= now {
                return Some(now - start);
            }
            patience.took(rate * 5);
            patience.end(now);
        }
        None
    }

    #[test]
    fn who_takes_much_may_be_slower_than_the_container() {
        assert_eq!(lasts(500_000), None);
        assert_eq!(lasts(10_000), None);
        let slow = lasts(5_000).unwrap();
        assert!(slow > IN_ALL && slow < IN_ALL * 3, "{slow:?}");
        assert!(lasts(64).unwrap() < IN_ALL + ms(100));
    }

    #[test]
    fn who_keeps_up_nearly_always_is_never_cut_off() {
        let mut now = Instant::now();
        let mut patience = Patience::new(now);
        for _ in 0..1000 {
            patience.begin(now);
            assert_eq!(patience.due(), Some(now + AT_ONCE));
            now += ms(100);
            patience.end(now);
            now += ms(1000);
        }
    }
}
