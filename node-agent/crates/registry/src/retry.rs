//! When to try again, and after how long.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use crate::config::{Config, Retries};
use crate::error::RequestError;

/// Bytes that must arrive between two failures for the second to count as a first.
const PROGRESS: u64 = 256 * 1024;

/// Counts failures in a row and says how long to wait after each.
#[derive(Debug)]
pub(crate) struct Retry {
    rules: Retries,
    /// How long failures in a row may go on.
    patience: Duration,
    /// When the first of them was seen.
    since: Option<Instant>,
    failures: u32,
    progress: u64,
}

impl Retry {
    pub(crate) fn new(config: &Config) -> Self {
        let timeouts = &config.timeouts;
        Self {
            rules: config.retries.clone(),
            // The first failure may have taken as long as a connection may be silent.
            patience: timeouts.progress.saturating_sub(timeouts.stall()),
            since: None,
            failures: 0,
            progress: 0,
        }
    }

    /// Takes note of bytes received: a transfer that gets on may fail as often as it likes.
    pub(crate) fn progressed(&mut self, bytes: usize) {
        self.progress = self.progress.saturating_add(bytes as u64);
        if self.progress >= PROGRESS {
            self.progress = 0;
            self.failures = 0;
            self.since = None;
        }
    }

    /// Returns how long to wait before trying again, or the error if there is no use in that.
    pub(crate) fn after(&mut self, error: RequestError) -> Result<Duration, RequestError> {
        let Some(asked) = error.transient() else {
            return Err(error);
        };
        self.failures += 1;
        let allowed = match error {
            RequestError::Connect { .. } => self.rules.connect_attempts,
            _ => self.rules.attempts,
        };
        let longest = self.rules.longest_wait;
        if self.failures >= allowed || asked.is_some_and(|asked| asked > longest) {
            return Err(error);
        }
        let doubled = self.rules.first_wait * 2_u32.saturating_pow(self.failures - 1);
        // Half of it at random, so that a thousand nodes do not come back together.
        let wait = doubled.min(longest).mul_f64(0.5 + random_fraction() / 2.0);
        let wait = wait.max(asked.unwrap_or_default());
        let since = *self.since.get_or_insert_with(Instant::now);
        match since.elapsed() + wait > self.patience {
            true => Err(error),
            false => {
                tracing::debug!(%error, wait_ms = wait.as_millis(), "registry request will be retried");
                Ok(wait)
            }
        }
    }
}

/// Returns a number in [0, 1) from the seed that every new hasher state gets.
fn random_fraction() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;

    fn busy(retry_after: Option<u64>) -> RequestError {
        RequestError::Status {
            host: "r.io".into(),
            what: "manifest".into(),
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn waits_grow_and_end() {
        let mut retry = Retry::new(&Config::default());
        let waits: Vec<_> = (0..4).map(|_| retry.after(busy(None)).unwrap()).collect();
        for (n, wait) in waits.iter().enumerate() {
            let most = Duration::from_millis(200) * 2_u32.pow(u32::try_from(n).unwrap());
            assert!(*wait <= most && *wait >= most / 2, "{n}: {wait:?}");
        }
        assert!(retry.after(busy(None)).is_err());
    }

    #[test]
    fn progress_starts_the_count_anew() {
        let mut retry = Retry::new(&Config::default());
        for _ in 0..50 {
            retry.after(busy(None)).unwrap();
            retry.progressed(usize::try_from(PROGRESS).unwrap());
        }
        for _ in 0..4 {
            retry.progressed(1);
            retry.after(busy(None)).unwrap();
        }
        assert!(
            retry.after(busy(None)).is_err(),
            "a byte each time is no progress"
        );
    }

    #[test]
    fn failures_do_not_go_on_for_longer_than_a_transfer_may_stand_still() {
        let mut config = Config::default();
        config.timeouts.progress = Duration::from_millis(3);
        let mut retry = Retry::new(&config);
        assert!(retry.after(busy(None)).is_err());
    }

    #[test]
    fn a_registry_may_ask_for_a_wait_but_not_for_any() {
        let mut retry = Retry::new(&Config::default());
        assert!(retry.after(busy(Some(7))).unwrap() >= Duration::from_secs(7));
        assert!(retry.after(busy(Some(7200))).is_err());
        let gone = RequestError::NotFound { what: "x".into() };
        assert!(retry.after(gone).is_err());
    }
}
