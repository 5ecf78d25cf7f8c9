//! Who waits for a job of systemd's to end.
//!
//! Several may wait for jobs of one unit at a time: two pods that are made below the same slice, or
//! one that is made while another's end takes the slice away. Each hears of all ends, and takes that
//! of its own job.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The end of a job: its path on the bus, and systemd's word for how it ended.
type End = (String, String);

/// Everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    waiters: Mutex<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    /// Names each waiter; counted up.
    last: u64,
    all: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    unit: String,
    sender: Sender<End>,
}

/// One who waits; until it is dropped, no end of the unit's jobs is missed.
#[derive(Debug)]
pub(super) struct Expected {
    jobs: Arc<Jobs>,
    number: u64,
    ends: Receiver<End>,
}

impl Jobs {
    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the ends of all jobs of `unit` from now on.
    pub(super) fn expect(jobs: &Arc<Self>, unit: &str) -> Expected {
        let (sender, ends) = channel();
        let mut waiters = jobs.waiters();
        waiters.last += 1;
        let number = waiters.last;
        waiters.all.push(Waiter {
            number,
            unit: unit.to_owned(),
            sender,
        });
        drop(waiters);
        Expected {
            jobs: Arc::clone(jobs),
            number,
            ends,
        }
    }

    /// Tells everybody who waits for a job of `unit` that one has ended.
    pub(super) fn ended(&self, unit: &str, job: &str, result: &str) {
        let waiters = self.waiters();
        for waiter in waiters.all.iter().filter(|waiter| waiter.unit == unit) {
            // Who gave up waiting needs no answer.
            let _ = waiter.sender.send((job.to_owned(), result.to_owned()));
        }
    }

    /// Tells everybody that nothing will be heard any more.
    pub(super) fn close(&self) {
        self.waiters().all.clear();
    }
}

impl Expected {
    /// Waits until `job` has ended and returns how; `None` where that is not heard in time.
    pub(super) fn wait(&self, job: &str, deadline: Instant) -> Option<String> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (ended, result) = self.ends.recv_timeout(left).ok()?;
            if ended == job {
                return Some(result);
            }
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut waiters = self.jobs.waiters();
        waiters.all.retain(|waiter| waiter.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn all_who_wait_for_one_unit_hear_of_it() {
        let jobs = Arc::new(Jobs::default());
        let first = Jobs::expect(&jobs, "pods.slice");
        let second = Jobs::expect(&jobs, "pods.slice");
        let other = Jobs::expect(&jobs, "other.slice");
        // Its call was refused: the unit was there.
        drop(second);
        jobs.ended("pods.slice", "/job/1", "done");
        assert_eq!(first.wait("/job/1", soon()).as_deref(), Some("done"));
        assert_eq!(other.wait("/job/1", Instant::now()), None);
    }

    #[test]
    fn the_end_of_another_job_of_the_unit_is_none_of_mine() {
        let jobs = Arc::new(Jobs::default());
        let start = Jobs::expect(&jobs, "pods.slice");
        let stop = Jobs::expect(&jobs, "pods.slice");
        jobs.ended("pods.slice", "/job/1", "canceled");
        jobs.ended("pods.slice", "/job/2", "done");
        assert_eq!(start.wait("/job/2", soon()).as_deref(), Some("done"));
        assert_eq!(stop.wait("/job/1", soon()).as_deref(), Some("canceled"));
    }

    #[test]
    fn who_waits_learns_at_once_that_nothing_will_be_heard() {
        let jobs = Arc::new(Jobs::default());
        let ended = Jobs::expect(&jobs, "a.scope");
        jobs.close();
        assert_eq!(ended.wait("/job/1", soon()), None);
        drop(ended);
        assert!(jobs.waiters().all.is_empty());
    }
}
